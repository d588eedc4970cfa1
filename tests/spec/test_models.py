import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.errors import UsageError
from orchestrator.spec import (
    ModelSpec,
    OllamaSpec,
    Spec,
    TokenIds,
    VllmSpec,
    human_tokens,
    model_for,
    ollama_model_name,
    served_name,
    token_ids,
    with_runtime,
)

OTHER = ModelSpec(source="hf:bartowski/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct-Q4_K_M.gguf")


def test_the_defaults_are_the_worked_example():
    spec = with_runtime(with_runtime(Spec(), "ollama"), "vllm")
    assert spec.model.source == "hf:lmstudio-community/Qwen2.5-14B-Instruct-GGUF:Q4_K_M"
    assert (spec.model.repo, spec.model.quant) == ("lmstudio-community/Qwen2.5-14B-Instruct-GGUF", "Q4_K_M")
    assert spec.model.base == "Qwen/Qwen2.5-14B-Instruct"
    assert spec.ollama is not None
    assert spec.vllm is not None
    assert (spec.ollama.port, spec.ollama.context, spec.ollama.num_parallel) == (11434, 8192, 4)
    assert (spec.vllm.port, spec.vllm.gpu_mem, spec.vllm.max_model_len) == (5000, 1.0, 24576)
    assert (spec.vllm.max_num_seqs, spec.vllm.max_num_batched_tokens) == (256, 8192)
    assert spec.sampling.model_dump(exclude_none=True) == {
        "temperature": 0.5,
        "top_p": 0.8,
        "top_k": 20,
        "repetition_penalty": 1.05,
        "max_tokens": 4096,
        "stop": (),
    }
    assert served_name(spec) == "VLLMQwen2.5-14B"
    assert ollama_model_name(spec) == "qwen2.5-14b-instruct"
    assert token_ids(spec) == TokenIds(bos=151643, pad=151643, eos=(151645, 151643))


def test_what_belongs_to_the_default_model_is_not_given_to_another():
    spec = Spec(model=OTHER, vllm=VllmSpec(), ollama=OllamaSpec())
    assert spec.model.base is None
    assert token_ids(spec) == TokenIds()
    assert served_name(spec) == "SmolLM2-135M-Instruct"
    assert ollama_model_name(spec) == "smollm2-135m-instruct"


def test_what_the_user_says_wins_over_what_is_derived():
    vllm = VllmSpec(served_name="mine", bos_token_id=0, eos_token_id=[7, 8])
    spec = Spec(vllm=vllm, ollama=OllamaSpec(model_name="team/mine:v1"))
    assert served_name(spec) == "mine"
    assert ollama_model_name(spec) == "team/mine:v1"
    assert token_ids(spec) == TokenIds(bos=0, pad=151643, eos=(7, 8))


def test_a_runtime_may_serve_a_model_of_its_own():
    spec = Spec(ollama=OllamaSpec(model=OTHER), vllm=VllmSpec())
    assert model_for(spec, "ollama") == OTHER
    assert model_for(spec, "vllm") == spec.model == ModelSpec()
    assert ollama_model_name(spec) == "smollm2-135m-instruct"
    assert served_name(spec) == "VLLMQwen2.5-14B"


@pytest.mark.parametrize(
    ("source", "repo", "quant", "file", "title"),
    [
        ("hf:a/B-GGUF:Q4_K_M", "a/B-GGUF", "Q4_K_M", None, "B"),
        ("hf:a/B/sub/B-Q8_0.gguf", "a/B", None, "sub/B-Q8_0.gguf", "B"),
        ("hf:a/B/B-IQ2_XS-00001-of-00003.gguf", "a/B", None, "B-IQ2_XS-00001-of-00003.gguf", "B"),
        ("hf:Qwen/Qwen2.5-7B-Instruct-AWQ", "Qwen/Qwen2.5-7B-Instruct-AWQ", None, None, "Qwen2.5-7B-Instruct-AWQ"),
        ("/srv/models/x.gguf", None, None, None, "x"),
        ("models/My Model.f16.gguf", None, None, None, "My Model"),
    ],
)
def test_parts_of_a_source(source, repo, quant, file, title):
    model = ModelSpec(source=source)
    assert (model.repo, model.quant, model.file, model.title) == (repo, quant, file, title)


@pytest.mark.parametrize(
    "source",
    ["", "-x", "hf:", "hf:a", "hf:a/b:", "hf:a/../b", "hf:a/b/../c", "hf:a/b/c//d", "hf:a/b:Q4/x", "hf:a/b c",
     "https://huggingface.co/a/b", "s3://a/b", "a\nb", "a\0b", "hf:a/b\n:Q4"],
)  # fmt: skip
def test_sources_that_are_refused(source):
    with pytest.raises(ValidationError):
        ModelSpec(source=source)


def test_runtimes_and_their_sections():
    spec = with_runtime(Spec(), "vllm")
    assert spec.runtimes() == ("vllm",)
    assert with_runtime(spec, "vllm") is spec
    assert spec.for_runtime("vllm") is spec.vllm
    with pytest.raises(UsageError, match="no ollama section"):
        spec.for_runtime("ollama")
    with pytest.raises(UsageError, match="expected ollama or vllm"):
        with_runtime(spec, "tgi")


def test_adding_a_runtime_checks_it_beside_the_other():
    with pytest.raises(UsageError, match=r"^vllm.port: got 5000, expected another port than ollama's$"):
        with_runtime(Spec(ollama=OllamaSpec(port=5000)), "vllm")


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("localhost", "127.0.0.1", True),
        ("0.0.0.0", "10.0.0.5", True),
        ("::", "127.0.0.1", True),
        ("127.0.0.1", "10.0.0.5", False),
    ],
)
def test_one_port_is_not_given_twice(one, other, clash):
    direct = {"port": 80, "expose": "direct"}
    sections = {"ollama": OllamaSpec(bind=one, **direct), "vllm": VllmSpec(bind=other, **direct)}
    if clash:
        with pytest.raises(ValidationError, match="another port"):
            Spec(**sections)
    else:
        assert Spec(**sections).runtimes() == ("ollama", "vllm")


def test_engines_behind_the_gateway_need_ports_of_their_own():
    sections = {"ollama": OllamaSpec(bind="10.0.0.5", port=80), "vllm": VllmSpec(bind="127.0.0.1", port=80)}
    with pytest.raises(ValidationError, match="another port"):
        Spec(**sections)
    apart = VllmSpec(bind="127.0.0.1", port=80, engine_port=10081)
    assert Spec(ollama=sections["ollama"], vllm=apart).runtimes() == ("ollama", "vllm")
    with pytest.raises(ValidationError, match=r"another port than vllm\.port"):
        Spec(vllm=VllmSpec(port=5000, engine_port=5000))


@pytest.mark.parametrize(
    ("gateway", "expected"),
    [
        ({"tls": "acme"}, "at least one name"),
        ({"tls": "files", "domains": ["a.example.org"]}, "since tls is files"),
        ({"domains": ["Bad_Name"]}, "a host name"),
        ({"domains": ["a b"]}, "a host name"),
        ({"certificate": "relative.pem"}, "an absolute path"),
        ({"certificate": "/etc/{env.HOME}.pem"}, "an absolute path"),
        ({"archive": "https://mirror.example.org/caddy.tar.gz"}, "the digest"),
        ({"max_body": "many"}, "a size"),
    ],
)
def test_a_gateway_that_cannot_be_is_refused(gateway, expected):
    with pytest.raises(ValidationError, match=expected):
        Spec(gateway=gateway)


def test_a_spec_survives_its_own_json():
    spec = Spec(
        model=OTHER,
        ollama=OllamaSpec(keep_alive=-1, context="24K", model=ModelSpec(source="x.gguf")),
        vllm=VllmSpec(gpus=[0, 1], tensor_parallel=2, eos_token_id=5, max_model_len="auto", env={"A": "b"}),
    )
    assert Spec.model_validate_json(spec.model_dump_json()) == spec
    assert Spec.model_validate(spec.model_dump(mode="json")) == spec


def test_a_spec_is_a_value():
    with pytest.raises(ValidationError):
        Spec().sampling.temperature = 1.0


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("24576", 24576), ("24k", 24000), ("24K", 24576), ("25.6k", 25600), ("1m", 10**6), ("1M", 2**20), ("1G", 2**30)],
)
def test_tokens_as_vllm_reads_them(text, tokens):
    assert human_tokens(text) == tokens


@pytest.mark.parametrize(
    "text", ["", "k", "-1", "1.5", "24 K", "24KB", "1e3", "0x10", "\u0661", "9" * 99, "1_000", "auto"]
)
def test_tokens_that_are_refused(text):
    with pytest.raises(ValueError, match="tokens"):
        human_tokens(text)


def test_decimals_with_a_binary_suffix_are_explained():
    with pytest.raises(ValueError, match=r"Decimals are not allowed with binary suffixes; 24\.5k counts in thousands"):
        human_tokens("24.5K")


@given(st.text())
def test_any_text_is_a_number_of_tokens_or_a_value_error(text):
    try:
        assert human_tokens(text) >= 0
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize("value", ["auto", -1, "-1"])
def test_the_largest_context_that_fits(value):
    assert VllmSpec(max_model_len=value).max_model_len == "auto"
