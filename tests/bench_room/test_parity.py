"""What engines say of themselves, read; and what two of them do differently, told with its reason."""

from __future__ import annotations

import pytest

from orchestrator.bench.parity import Answered, Said, answered, differences
from orchestrator.bench.settings import Settings, of_ollama, of_vllm, overridden

PARAMETERS = r"""num_ctx                        8192
repeat_penalty                 1.05
stop                           "<|im_end|>"
stop                           "a \"quoted\" one"
temperature                    0.5
top_k                          20"""
UNIT = """[Service]
ExecStart=/v/bin/vllm serve /m --override-generation-config '{"presence_penalty": 0.5}' --x
"""
SHOWN = {
    "parameters": PARAMETERS,
    "template": "{{ .Prompt }}",
    "system": "You are a helpful AI assistant.",
    "model_info": {"tokenizer.ggml.eos_token_id": 151645},
}
CONFIG = {"temperature": 0.5, "top_k": 20, "repetition_penalty": 1.05, "eos_token_id": [151645, 151643]}


def names(first: Settings, second: Settings, asked: tuple[Answered, ...] = ()) -> dict[str, tuple[str, str]]:
    return {item.name: (item.first, item.second) for item in differences(first, second, asked)}


def test_ollama_over_v1_takes_temperature_and_top_p_1_whatever_its_modelfile_says():
    found = of_ollama(SHOWN)
    assert found.sampling["temperature"] == 1.0 and found.said["temperature"] == 0.5
    assert found.sampling["top_p"] == 1.0 and "top_p" not in found.said
    assert found.sampling["top_k"] == 20 and found.sampling["repetition_penalty"] == 1.05
    assert found.stop == ("<|im_end|>", 'a "quoted" one') and found.eos == (151645,)
    assert found.system == "You are a helpful AI assistant."


def test_ollamas_own_defaults_count_where_nothing_is_said():
    found = of_ollama({"parameters": None, "model_info": None})
    assert found.sampling["top_k"] == 40 and found.sampling["repetition_penalty"] == 1.1
    assert found.stop == () and found.eos == () and found.system == ""


@pytest.mark.parametrize(
    "shown", [{}, {"parameters": 7}, {"parameters": 'temperature hot\nstop "broken'}, {"model_info": []}]
)
def test_what_ollama_should_not_say_is_survived(shown: dict[str, object]):
    assert of_ollama(shown).sampling["temperature"] == 1.0


def test_vllm_takes_its_file_and_what_overrides_it():
    found = of_vllm({**CONFIG, "do_sample": True}, {"presence_penalty": 0.5, "temperature": 0.1}, "{{ messages }}")
    assert found.sampling["temperature"] == 0.1 and found.sampling["presence_penalty"] == 0.5
    assert found.sampling["top_p"] == 1.0 and found.sampling["min_p"] == 0.0
    assert found.eos == (151645, 151643) and found.template == "{{ messages }}"
    assert of_vllm({"eos_token_id": 2}, {}, "").eos == (2,) and of_vllm({}, {}, "").eos == ()


@pytest.mark.parametrize(
    "resource",
    [
        {"spec": {"command": ["/model", "--override-generation-config", '{"presence_penalty": 0.5}', "--seed", "1"]}},
        {"content": UNIT},
        [{"a": 1}, {"b": [{"c": ["x", "--override-generation-config", '{"presence_penalty": 0.5}']}]}],
    ],
)
def test_an_override_is_found_in_any_kind_of_service(resource: object):
    assert overridden(resource) == {"presence_penalty": 0.5}


@pytest.mark.parametrize(
    "resource",
    [{}, ["--override-generation-config"], ["--override-generation-config", "{"], "--override-generation-config 'x", 7],
)
def test_no_override_is_none(resource: object):
    assert overridden(resource) == {}


def test_equal_engines_do_not_differ():
    side = of_vllm(CONFIG, {}, "t", "rendered")
    assert names(side, side, (answered("?", Said(text="a", prompt_tokens=5), Said(text="a", prompt_tokens=5)),)) == {}


def test_the_worked_example_differs_where_it_does():
    found = names(of_ollama(SHOWN), of_vllm(CONFIG, {}, ""))
    assert found == {
        "system prompt": ("You are a helpful AI assistant.", "none"),
        "stop words": ('<|im_end|>, a "quoted" one', "none"),
        "temperature": ("1 (told 0.5)", "0.5"),
        "repetition_penalty looks at": ("the last 64 tokens", "prompt and answer"),
    }


def test_a_system_prompt_of_the_chat_template_is_shown():
    found = names(of_ollama(SHOWN), of_vllm(CONFIG, {}, "", "<|system|>You are Qwen.<|user|>Hello!<|assistant|>"))
    assert found["system prompt"][1] == "none; its chat template begins with '<|system|>You are Qwen.<|user|>'"


def test_every_difference_has_a_reason_and_a_remedy_and_the_modelfile_is_told_unheard():
    found = differences(of_ollama(SHOWN), of_vllm(CONFIG, {}, ""), ())
    assert all(item.why and item.remedy for item in found)
    (heat,) = (item for item in found if item.name == "temperature")
    assert "never hears what its Modelfile says (0.5)" in heat.why and "with every request" in heat.remedy


def test_ends_that_share_no_token_are_told():
    one = of_vllm({"eos_token_id": 1}, {}, "")
    assert names(one, of_vllm({"eos_token_id": [2, 3]}, {}, "")) == {"end-of-text tokens": ("1", "2, 3")}
    assert names(one, of_vllm({"eos_token_id": [1, 3]}, {}, "")) == {}


def test_templates_are_compared_by_what_comes_out_of_them_else_by_its_length():
    one, other = of_vllm({}, {}, "a", "<s>Hello!"), of_vllm({}, {}, "b", "Hello!")
    longer = answered("?", Said(text="x", prompt_tokens=36), Said(text="x", prompt_tokens=12))
    assert names(one, other, (longer,)) == {"what the model reads": ("<s>Hello!", "Hello!")}
    assert names(of_vllm({}, {}, "a"), other, (longer,)) == {"length of the same prompt": ("36 tokens", "12 tokens")}
    assert names(of_vllm({}, {}, "a", "same"), of_vllm({}, {}, "b", "same"), (longer,)) == {}


@pytest.mark.parametrize(
    ("one", "other", "common"), [("abc", "abd", 2), ("abc", "abc", 3), ("", "x", 0), ("ab", "abc", 2)]
)
def test_answers_are_compared_from_their_start(one: str, other: str, common: int):
    found = answered("?", Said(text=one), Said(text=other))
    assert (found.common, found.same) == (common, one == other)
