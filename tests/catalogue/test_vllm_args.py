"""Extra arguments of vLLM: what passes, what is refused, and what the refusal says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UsageError
from orchestrator.runtimes.vllm_args import OWNED, REMOVED, normalise, options, parse, validate

VERSIONS = ("0.32.0", "0.23.0")

GOOD = [
    (
        ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"],
        "--enable-auto-tool-choice --tool-call-parser=hermes",
    ),
    (["--enable_auto_tool_choice"], "--enable-auto-tool-choice"),
    (["--no-enable-prefix-caching"], "--no-enable-prefix-caching"),
    (["--no-enable-prefix-cachi"], "--no-enable-prefix-caching"),
    (["--kv-cache-memory", "2G"], "--kv-cache-memory-bytes=2G"),
    (["--override-generation-config.temperature", "0.2"], "--override-generation-config.temperature=0.2"),
    (["--override_generation_config", '{"top_p": 0.9}'], '--override-generation-config={"top_p": 0.9}'),
    (
        ["--compilation-config.pass_config.fuse_norm_quant=true"],
        "--compilation-config.pass_config.fuse_norm_quant=true",
    ),
    (["-O3"], "--optimization-level=3"),
    (["-O", "2"], "--optimization-level=2"),
    (["-O=1"], "--optimization-level=1"),
    (["-pp", "2", "-q", "fp8"], "--pipeline-parallel-size=2 --quantization=fp8"),
    (["--middleware", "a.b", "--middleware=c.d"], "--middleware=a.b --middleware=c.d"),
    (["--allowed-media-domains", "a.org", "b.org"], "--allowed-media-domains a.org b.org"),
    (["--chat-template={{ 'x y' }}"], "--chat-template={{ 'x y' }}"),
    (["--seed", "-1"], "--seed=-1"),
    (["--pt-load-map-location", "cpu"], "--pt-load-map-location=cpu"),
]

BAD = [
    (["--swap-space", "4"], "--kv-offloading-size"),
    (["--disable_log_requests"], "--enable-log-requests"),
    (["--task", "embed"], "--runner"),
    (["--enable-auto-tool-choise"], "--enable-auto-tool-choice"),
    (["--foo-bar"], "--help=all"),
    (["--seed"], "VALUE"),
    (["--enforce-eager=true"], "--no-enforce-eager"),
    (["--tokenizer-mode", "hf", "stray"], "--model"),
    (["stray"], "--model"),
    (["--seed 3"], "--seed=3"),
    (["--runner", "pool"], "pooling"),
    (["--seed.x", "1"], "--seed=VALUE"),
    (["--compilation-config.", "1"], "KEY"),
    (["--"], ""),
    (["-x"], ""),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("words", "canonical"), GOOD)
def test_good_arguments_get_their_full_names(version: str, words: list[str], canonical: str) -> None:
    assert " ".join(normalise(words, version)) == canonical


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("words", "remedy"), BAD)
def test_a_refusal_names_the_argument_the_version_and_a_way_out(version: str, words: list[str], remedy: str) -> None:
    with pytest.raises(UsageError) as refused:
        validate(words, version)
    assert words[0].split("=")[0].split(".")[0].replace("_", "-") in refused.value.what
    assert version in refused.value.what
    assert remedy in refused.value.remedy


@pytest.mark.parametrize("value", ["1.5", "x", "1k", ""])
def test_a_number_must_be_one(value: str) -> None:
    with pytest.raises(UsageError, match="whole number"):
        validate([f"--seed={value}"], "0.32.0")


@pytest.mark.parametrize("value", ["24.5K", "many", "24q"])
def test_a_size_must_be_one(value: str) -> None:
    with pytest.raises(UsageError, match="24k"):
        validate([f"--kv-cache-memory-bytes={value}"], "0.32.0")


def test_broken_json_is_refused() -> None:
    with pytest.raises(UsageError, match="JSON"):
        validate(["--compilation-config", '{"mode": '], "0.32.0")


@pytest.mark.parametrize(
    ("version", "name"), [(version, name) for version in VERSIONS for name in sorted(OWNED) if name in options(version)]
)
def test_what_deployctl_sets_itself_is_refused_under_every_name(version: str, name: str) -> None:
    option = options(version)[name]
    for spelling in option.names:
        words = [spelling] if option.takes == "none" else [spelling, option.choices[0] if option.choices else "1"]
        with pytest.raises(UsageError) as refused:
            validate(words, version)
        assert OWNED[name] in refused.value.remedy


def test_a_beginning_of_an_owned_name_is_refused_too() -> None:
    with pytest.raises(UsageError, match="--api-key is set by deployctl"):
        validate(["--api-k", "canary"], "0.32.0")


def test_no_value_of_a_key_shows_in_its_refusal() -> None:
    with pytest.raises(UsageError) as refused:
        validate(["--api-key", "canary-7"], "0.32.0")
    error = refused.value
    assert "canary-7" not in f"{error.what}{error.why}{error.remedy}"


def test_an_ambiguous_beginning_shows_what_it_may_mean() -> None:
    with pytest.raises(UsageError) as refused:
        validate(["--enable-l"], "0.32.0")
    assert "--enable-log-requests" in refused.value.why


def test_an_option_that_came_later_is_unknown_before() -> None:
    validate(["--logging-config", "{}"], "0.32.0")
    with pytest.raises(UsageError, match=r"0\.23\.0"):
        validate(["--logging-config", "{}"], "0.23.0")


def test_a_release_without_a_table_is_read_by_its_nearest_neighbour() -> None:
    assert options("0.31.0") == options("0.32.0")
    assert options("0.23.4") == options("0.23.0")
    assert options("nightly")


@pytest.mark.parametrize("version", VERSIONS)
def test_what_replaces_a_removed_option_exists(version: str) -> None:
    assert not set(REMOVED) - {"--log-config-file"} & set(options(version))
    for replacement in REMOVED.values():
        for word in replacement.split():
            name = word.strip(":,").partition(".")[0]
            if name.startswith("--") and name != "--device" and (version, name) != ("0.23.0", "--logging-config"):
                assert name in options(version)


@given(st.sampled_from(VERSIONS), st.data())
def test_every_option_passes_in_every_form(version: str, data: st.DataObject) -> None:
    option = data.draw(st.sampled_from([one for one in options(version).values() if not set(one.names) & set(OWNED)]))
    name = data.draw(st.sampled_from(option.names))
    if name.startswith("--") and data.draw(st.booleans()):
        name = name[:2] + name[2:].replace("-", "_")
    value = {"json": "{}", "json-or-str": "{}", "str": "x", "float": "0.5"}.get(option.kind, "1")
    value = data.draw(st.sampled_from(option.choices)) if option.choices else value
    form = [name] if option.takes == "none" else data.draw(st.sampled_from([[name, value], [f"{name}={value}"]]))
    canonical = normalise(form, version)
    assert normalise(canonical, version) == canonical


@given(st.lists(st.text(max_size=12), max_size=4))
def test_whatever_is_given_is_read_or_refused(words: list[str]) -> None:
    try:
        found = parse(words, "0.32.0")
    except UsageError as refused:
        assert refused.what
    else:
        assert bool(found) == bool(words)
