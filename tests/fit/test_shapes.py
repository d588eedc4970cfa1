"""What headers and configs of each architecture are read as."""

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.fit.config_shape import shape_from_config
from orchestrator.fit.gguf_shape import shape_from_gguf
from orchestrator.fit.llamacpp import Server, buffers
from orchestrator.fit.memory import MIB, VllmSettings
from orchestrator.fit.shape import ModelShape
from orchestrator.fit.vllm_cache import cache
from orchestrator.models.gguf import read_file
from orchestrator.models.tensor import Tensor
from tests.fit import configs, models
from tests.fit.models import flat, keys
from tests.lab.models import GEMMA3, fetch

BASE = {
    "block_count": 12, "embedding_length": 1024, "feed_forward_length": 4096, "context_length": 8192,
    "attention__head_count": 8, "attention__head_count_kv": 2,
}  # fmt: skip
ANY = Tensor("token_embd.weight", "Q4_K", (1024, 32000), 32000 * 576)


def gguf(arch: str, **more: Any) -> ModelShape:
    return shape_from_gguf(keys(arch, **{**BASE, **more}), [ANY, Tensor("output.weight", "Q6_K", (1024, 32000), 1)])


def config(model_type: str, **more: Any) -> ModelShape:
    base = configs.config(model_type, 12, 1024, 8, 2, 128, 4096, 32000, 8192)
    return shape_from_config({**base, **more}, 1_000_000_000)


def windows(shape: ModelShape) -> list[int]:
    return [layer.window for layer in shape.layers]


def kinds(shape: ModelShape) -> str:
    """f: whole context, w: window, s: state, b: state and cache, -: neither."""
    letters = {(True, False): "f", (False, True): "s", (True, True): "b", (False, False): "-"}
    return "".join(
        "w" if layer.window and layer.kv_heads else letters[layer.kv_heads > 0, layer.recurrent]
        for layer in shape.layers
    )


class TestGguf:
    def test_dense(self) -> None:
        shape = gguf("llama")
        assert shape.certain, shape.doubts
        assert kinds(shape) == "f" * 12
        assert {(layer.kv_heads, layer.key_length, layer.value_length) for layer in shape.layers} == {(2, 128, 128)}
        assert (shape.vocabulary, shape.training_context, shape.tied) == (32000, 8192, False)

    def test_wide_heads(self) -> None:
        shape = gguf("qwen3", attention__key_length=256, attention__value_length=64)
        assert (shape.layers[0].key_length, shape.layers[0].value_length) == (256, 64)

    def test_heads_of_each_layer(self) -> None:
        shape = gguf("llama", attention__head_count_kv=[2, 4] * 6)
        assert [layer.kv_heads for layer in shape.layers] == [2, 4] * 6

    def test_a_list_that_is_too_short_is_a_doubt(self) -> None:
        shape = gguf("llama", attention__head_count_kv=[2, 4])
        assert not shape.certain
        assert shape.layers[11].kv_heads == 4  # the most: an upper bound

    def test_without_kv_heads_every_head_keeps(self) -> None:
        shape = shape_from_gguf(keys("llama", **{k: v for k, v in BASE.items() if "kv" not in k}), [ANY])
        assert shape.layers[0].kv_heads == 8

    @pytest.mark.parametrize(
        ("arch", "expected"),
        [
            ("gemma2", "wf" * 6),
            ("gemma3", "wwwwwf" * 2),
            ("gpt-oss", "wf" * 6),
            ("cohere2", "wwwf" * 3),
            ("smallthinker", "fwww" * 3),
            ("phi3", "f" * 12),
        ],
    )
    def test_windows_by_architecture(self, arch: str, expected: str) -> None:
        shape = gguf(arch, attention__sliding_window=512)
        assert kinds(shape) == expected
        assert shape.certain, shape.doubts

    @pytest.mark.parametrize(
        ("arch", "blocks", "more", "window"),
        [
            ("gemma2", 12, {}, 4096),
            ("llama4", 12, {}, 8192),
            ("llama4", 12, {"attention__sliding_window": 0}, 0),
            ("smallthinker", 12, {"attention__sliding_window": 512}, 4096),
            ("exaone4", 64, {}, 4096),
            ("exaone4", 30, {"attention__sliding_window": 4096}, 0),
            ("exaone-moe", 12, {}, 128),
            ("gemma3", 12, {}, 0),
        ],
    )
    def test_windows_that_the_engine_knows(self, arch: str, blocks: int, more: dict[str, Any], window: int) -> None:
        shape = gguf(arch, **{"block_count": blocks, **more})
        assert max(windows(shape)) == window

    def test_lfm2_attends_in_windows_only(self) -> None:
        shape = gguf(
            "lfm2", attention__head_count_kv=[0, 0, 2] * 4, shortconv__l_cache=3, attention__sliding_window=512
        )  # fmt: skip
        assert kinds(shape) == "ssw" * 4

    def test_windows_that_the_file_lists(self) -> None:
        shape = published_gemma4()
        assert windows(shape) == [1024, 1024, 0] * 4
        assert shape.layers[0].key_length == 256
        assert shape.layers[2].key_length == 512

    def test_layers_that_share_a_cache(self) -> None:
        shape = gguf("gemma3n", attention__sliding_window=512, attention__shared_kv_layers=5)
        assert kinds(shape).endswith("-----")
        assert sum(layer.kv_heads > 0 for layer in shape.layers) == 7
        assert kinds(gguf("gemma3n", block_count=35, attention__sliding_window=512)).count("-") == 15

    def test_experts(self) -> None:
        shape = gguf(
            "qwen3moe",
            expert_count=64,
            expert_used_count=4,
            expert_feed_forward_length=768,
            leading_dense_block_count=2,
        )
        assert [layer.feed_forward for layer in shape.layers] == [4096] * 2 + [768] * 10
        assert [layer.expert for layer in shape.layers] == [False] * 2 + [True] * 10
        assert shape.moe

    def test_latent_rows(self) -> None:
        shape = models.deepseek_v2_lite(flat("Q4_K"))
        assert {(layer.kv_heads, layer.key_length, layer.value_length) for layer in shape.layers} == {(1, 576, 0)}
        assert buffers(shape, Server(256)).kv_cache == 256 * 31104
        assert shape.latent_elements == 576

    def test_latent_rows_of_an_old_file_are_whole_heads_for_llama_cpp_only(self) -> None:
        shape = gguf("deepseek2", attention__kv_lora_rank=512, rope__dimension_count=64, attention__head_count_kv=8)
        assert shape.layers[0].kv_heads == 8
        assert shape.latent_elements == 576
        assert cache(shape, VllmSettings()).block_bytes == 16 * 576 * 2 * 12

    @pytest.mark.parametrize("arch", ["qwen35", "qwen3next", "qwen35moe"])
    def test_every_fourth_layer_of_a_hybrid_attends(self, arch: str) -> None:
        """Also where the file does not say so."""
        shape = gguf(arch, ssm__conv_kernel=4, ssm__inner_size=6144, ssm__state_size=128, ssm__group_count=16)
        assert kinds(shape) == "sssf" * 3
        assert shape.layers[0].conv_elements == 30720
        assert shape.layers[0].state_elements == 786432

    def test_jamba_attends_where_it_has_heads(self) -> None:
        assert kinds(models.jamba(flat("Q4_K"))) == "ssssfsss" * 4

    def test_mamba_keeps_no_cache(self) -> None:
        bare = {"block_count": 12, "embedding_length": 1024, "context_length": 8192}
        more = {"ssm__conv_kernel": 4, "ssm__inner_size": 2048, "ssm__state_size": 16, "attention__head_count": 0}
        shape = shape_from_gguf(keys("mamba", **bare, **more), [ANY])
        assert kinds(shape) == "s" * 12
        assert shape.certain, shape.doubts
        found = [buffers(shape, Server(tokens)) for tokens in (4096, 65536)]
        assert found[0].kv_cache == found[1].kv_cache == 0
        assert found[0].state == 12 * 4 * (3 * 2048 + 16 * 2048)

    def test_falcon_h1_does_both_in_every_layer(self) -> None:
        assert kinds(gguf("falcon-h1", ssm__conv_kernel=4, ssm__inner_size=64, ssm__state_size=16)) == "b" * 12

    def test_nemotron_h_has_a_third_kind(self) -> None:
        shape = gguf(
            "nemotron_h", attention__head_count_kv=[0, 0, 2] * 4, feed_forward_length=[0, 4096, 0] * 4,
            ssm__conv_kernel=4, ssm__inner_size=64, ssm__state_size=16,
        )  # fmt: skip
        assert kinds(shape) == "s-f" * 4

    def test_short_convolutions(self) -> None:
        shape = gguf("lfm2", attention__head_count_kv=[0, 0, 2] * 4, shortconv__l_cache=3)
        assert kinds(shape) == "ssf" * 4
        assert (shape.layers[0].conv_elements, shape.layers[0].state_elements) == (2048, 0)

    def test_rwkv(self) -> None:
        shape = gguf("rwkv7", wkv__head_size=64, attention__head_count=0)
        assert kinds(shape) == "s" * 12
        assert (shape.layers[0].conv_elements, shape.layers[0].state_elements) == (2048, 65536)

    def test_tied_embeddings_lie_on_the_gpu_and_beside_it(self) -> None:
        shape = models.gemma3_12b()
        assert shape.tied
        found = buffers(shape, Server(256))
        assert found.weights == shape.weights_bytes
        assert found.host == shape.embedding_bytes

    def test_biases_count(self) -> None:
        with_bias, without = (
            models.plain("qwen2", flat("Q4_K"), 2, 512, 4, 4, 128, 1024, 1024, bias=bias) for bias in (True, False)
        )
        assert with_bias.weights_bytes - without.weights_bytes == 2 * 3 * 512 * 4

    def test_layers_for_drafting_are_a_doubt_and_no_layers_of_the_model(self) -> None:
        draft = Tensor("blk.12.attn_q.weight", "Q4_K", (1024, 1024), 576 * 1024)
        shape = shape_from_gguf(keys("glm4moe", **{**BASE, "block_count": 13}, nextn_predict_layers=1), [ANY, draft])
        assert len(shape.layers) == 12
        assert shape.draft_bytes == 576 * 1024
        assert any("draft" in doubt for doubt in shape.doubts)
        bare = replace(shape, draft_bytes=0, draft_layers=0)
        assert buffers(shape, Server(4096)).total > buffers(bare, Server(4096)).total

    def test_a_projector_is_a_doubt(self) -> None:
        shape = shape_from_gguf(keys("qwen2vl", **BASE), [ANY], projector_bytes=MIB)
        assert shape.projector_bytes == MIB
        assert any("projector" in doubt for doubt in shape.doubts)

    def test_an_unknown_architecture_is_an_upper_bound(self) -> None:
        shape = gguf("zyx", attention__sliding_window=128, attention__sliding_window_pattern=2)
        assert kinds(shape) == "f" * 12
        assert any("zyx is not known" in doubt for doubt in shape.doubts)

    def test_missing_parts_are_a_doubt(self) -> None:
        shape = shape_from_gguf(keys("llama", **BASE), [])
        assert any("no tensors" in doubt for doubt in shape.doubts)
        split = shape_from_gguf({**keys("llama", **BASE), "split.tensors.count": 99}, [ANY])
        assert any("only 1 of 99 tensors" in doubt for doubt in split.doubts)

    def test_more_layers_than_it_says_are_a_doubt(self) -> None:
        odd = Tensor("blk.40.attn_q.weight", "Q4_K", (1024, 1024), 1)
        assert any("more layers" in doubt for doubt in shape_from_gguf(keys("llama", **BASE), [ANY, odd]).doubts)

    def test_stacked_matrices_of_two_types_are_padded_by_vllm(self) -> None:
        """Q4_K_M of Qwen2.5-14B: 0.18 GiB, measured."""
        assert round(models.qwen25_14b().padding_bytes / MIB, 1) == 185.6
        assert models.qwen25_14b(flat("Q4_K")).padding_bytes == 0

    def test_a_real_file(self) -> None:
        """Gemma 3 270M, whose server printed its buffers: 235.16 + 170.00 MiB, 24 + 15 MiB of cache, 26.02 MiB."""
        header = read_file(fetch(GEMMA3))
        shape = shape_from_gguf(header.metadata, header.tensors)
        assert shape.certain, shape.doubts
        found = buffers(shape, Server(8192))
        assert round(found.weights / MIB, 2) == 235.16
        assert round(found.host / MIB, 2) == 170.00
        assert found.kv_cache == 39 * MIB
        assert abs(found.compute / MIB - 26.02) < 0.1


def published_gemma4() -> ModelShape:
    return gguf(
        "gemma4", attention__sliding_window=1024, attention__sliding_window_pattern=[True, True, False] * 4,
        attention__key_length=512, attention__value_length=512, attention__key_length_swa=256,
        attention__value_length_swa=256,
    )  # fmt: skip


class TestConfig:
    def test_dense(self) -> None:
        shape = config("llama")
        assert shape.certain, shape.doubts
        assert kinds(shape) == "f" * 12
        assert shape.weights_bytes == 1_000_000_000
        assert shape.embedding_bytes == shape.output_bytes == 32000 * 1024 * 2

    def test_a_language_model_within(self) -> None:
        inner = configs.config("qwen3", 12, 1024, 8, 2, 128, 4096, 32000, 8192)
        shape = shape_from_config({"model_type": "wrapped", "text_config": inner, "vision_config": {}}, 1_000_000)
        assert shape.architecture == "qwen3"
        assert len(shape.layers) == 12
        assert any("images" in doubt for doubt in shape.doubts)

    @pytest.mark.parametrize(
        ("model_type", "more", "expected"),
        [
            ("gemma3_text", {"sliding_window": 512, "sliding_window_pattern": 6}, "wwwwwf" * 2),
            ("gemma2", {"sliding_window": 512}, "wf" * 6),
            ("gpt_oss", {"sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"] * 6}, "wf" * 6),
            ("mistral", {"sliding_window": 4096}, "w" * 12),
            ("mistral", {"sliding_window": None}, "f" * 12),
            ("qwen2", {"sliding_window": 32768, "use_sliding_window": False}, "f" * 12),
            ("llama4_text", {"attention_chunk_size": 8192}, "wwwf" * 3),
        ],
    )
    def test_windows(self, model_type: str, more: dict[str, Any], expected: str) -> None:
        shape = config(model_type, **more)
        assert kinds(shape) == expected
        assert shape.certain, shape.doubts

    def test_gemma_4_has_wider_heads_where_it_sees_all(self) -> None:
        shape = config(
            "gemma4_text", sliding_window=1024, global_head_dim=512, num_global_key_value_heads=1,
            num_kv_shared_layers=2,
        )  # fmt: skip
        assert (shape.layers[0].kv_heads, shape.layers[0].key_length) == (2, 128)
        assert (shape.layers[5].kv_heads, shape.layers[5].key_length) == (1, 512)
        assert kinds(shape) == "wwwwwfwwww--"

    def test_latent_rows(self) -> None:
        shape = configs.deepseek_v3()
        assert shape.latent_elements == 576
        assert {(layer.kv_heads, layer.key_length) for layer in shape.layers} == {(1, 576)}
        assert cache(shape, VllmSettings(tensor_parallel=8)).block_bytes == 16 * 61 * 576 * 2  # not divided
        packed = VllmSettings(kv_cache_dtype="fp8_ds_mla")
        assert cache(shape, packed).block_bytes == 16 * 61 * 656

    def test_delta_nets(self) -> None:
        shape = configs.qwen36_35b_a3b()
        assert kinds(shape) == "sssf" * 10
        assert shape.layers[0].conv_elements == 24576
        assert shape.layers[0].state_elements == 524288

    def test_jamba(self) -> None:
        shape = config(
            "jamba", attn_layer_period=8, attn_layer_offset=4, mamba_d_state=16, mamba_d_conv=4, mamba_expand=2
        )  # fmt: skip
        assert kinds(shape) == "ssssfsssssss"
        assert (shape.layers[0].conv_elements, shape.layers[0].state_elements) == (3 * 2048, 16 * 2048)

    def test_mamba(self) -> None:
        shape = config("mamba", state_size=16, conv_kernel=4, num_attention_heads=None)
        assert kinds(shape) == "s" * 12

    def test_nemotron_h(self) -> None:
        shape = config(
            "nemotron_h", hybrid_override_pattern="M-*M-*M-*M-*", ssm_state_size=128, mamba_num_heads=8,
            mamba_head_dim=64, n_groups=2,
        )  # fmt: skip
        assert kinds(shape) == "s-f" * 4
        assert shape.layers[0].state_elements == 8 * 64 * 128

    def test_experts(self) -> None:
        shape = configs.qwen3_coder_30b()
        assert (shape.experts, shape.experts_used) == (128, 8)
        assert {(layer.feed_forward, layer.expert) for layer in shape.layers} == {(768, True)}

    def test_quantized_weights_are_marked(self) -> None:
        assert config("qwen2", quantization_config={"quant_method": "awq", "bits": 4}).quantized
        assert not config("qwen2").quantized

    @pytest.mark.parametrize(
        "quantization",
        [{"kv_cache_quant_algo": "FP8"}, {"kv_cache_scheme": {"num_bits": 8, "type": "float"}}],
    )
    def test_a_checkpoint_may_ask_for_a_narrow_cache(self, quantization: dict[str, Any]) -> None:
        shape = config("llama", quantization_config=quantization)
        assert cache(shape, VllmSettings()).block_bytes * 2 == cache(config("llama"), VllmSettings()).block_bytes

    def test_single_precision_is_loaded_as_half(self) -> None:
        assert config("llama", torch_dtype="float32").weights_bytes == 500_000_000

    def test_code_of_its_own_and_unknown_types_are_doubts(self) -> None:
        assert any("code of its own" in doubt for doubt in config("llama", auto_map={"AutoModel": "x"}).doubts)
        assert any("zyx is not known" in doubt for doubt in config("zyx").doubts)
        assert any("weights" in doubt for doubt in shape_from_config(configs.config(*DENSE), 0).doubts)

    def test_tied_embeddings_are_there_once(self) -> None:
        shape = config("llama", tie_word_embeddings=True)
        assert (shape.tied, shape.output_bytes, shape.weights_bytes) == (True, 0, 1_000_000_000)


DENSE = ("llama", 12, 1024, 8, 2, 128, 4096, 32000, 8192)
