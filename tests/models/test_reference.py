"""What users write for a model, rightly and wrongly."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UsageError
from orchestrator.models.reference import HubFile, HubQuant, HubRepo, LocalPath, Reference, parse


def nothing(path: Path) -> bool:
    return False


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("hf:bartowski/Qwen2.5-14B-Instruct-GGUF:Q4_K_M", HubQuant("bartowski/Qwen2.5-14B-Instruct-GGUF", "Q4_K_M")),
        ("hf:unsloth/x-GGUF:ud-q4_k_xl", HubQuant("unsloth/x-GGUF", "UD-Q4_K_XL")),
        ("hf:acme/tiny/tiny.gguf", HubFile("acme/tiny", "tiny.gguf")),
        ("hf:acme/tiny/Q8_0/a b-00001-of-00002.gguf", HubFile("acme/tiny", "Q8_0/a b-00001-of-00002.gguf")),
        ("hf:Qwen/Qwen2.5-14B-Instruct", HubRepo("Qwen/Qwen2.5-14B-Instruct")),
        ("/srv/a model.gguf", LocalPath(Path("/srv/a model.gguf"))),
        ("./tiny.gguf", LocalPath(Path.cwd() / "tiny.gguf")),
        ("~/tiny.gguf", LocalPath(Path.home() / "tiny.gguf")),
    ],
)
def test_right(text: str, meant: Reference) -> None:
    assert parse(text, exists=nothing) == meant


@pytest.mark.parametrize("text", ["hf:acme/tiny:Q4_K_M", "hf:acme/tiny/sub/a.gguf", "hf:acme/tiny", "/srv/a.gguf"])
def test_a_reference_prints_as_it_is_written(text: str) -> None:
    assert str(parse(text, exists=nothing)) == text


def test_a_bare_name_is_a_path_where_it_exists() -> None:
    assert parse("acme/tiny", exists=lambda path: path == Path("acme/tiny")) == LocalPath(Path.cwd() / "acme/tiny")


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("Qwen/Qwen2.5-14B-Instruct", "Did you mean hf:Qwen/Qwen2.5-14B-Instruct?"),
        ("acme/tiny:Q4_K_M", "Did you mean hf:acme/tiny:Q4_K_M?"),
        ("hf.co/acme/tiny:Q4_K_M", "Write hf:acme/tiny:Q4_K_M."),
        ("https://huggingface.co/acme/tiny/blob/main/sub/a.gguf", "Write hf:acme/tiny/sub/a.gguf."),
        ("https://huggingface.co/acme/tiny/resolve/v2/a%20b.gguf?download=true", "hf:acme/tiny/a b.gguf with the rev"),
        ("https://huggingface.co/acme/tiny", "Write hf:acme/tiny."),
        ("hf:https://huggingface.co/acme/tiny/tree/main", "Write hf:acme/tiny."),
        ("https://example.org/", "hf:OWNER/REPO:QUANT"),
        ("qwen2.5:14b", "hf:OWNER/REPO:QUANT"),
        ("tiny.gguf", "Give its path"),
        ("hf:tiny", "hf:OWNER/REPO:QUANT"),
        ("hf:acme/", "hf:OWNER/REPO:QUANT"),
        ("hf:/tiny", "hf:OWNER/REPO:QUANT"),
        ("hf:acme/tiny:", "hf:acme/tiny:Q4_K_M"),
        ("hf:acme/tiny/", "hf:acme/tiny "),
        ("hf:acme/tiny/model.safetensors", "hf:acme/tiny "),
        ("hf:acme/tiny/a.gguf:Q4_0", "hf:acme/tiny:Q4_0 or hf:acme/tiny/a.gguf"),
        ("hf:acme/tiny/../../etc/x.gguf", "hf:OWNER/REPO:QUANT"),
        ("hf:acme/tiny//etc/x.gguf", "hf:OWNER/REPO:QUANT"),
        ("hf:acme/..:Q4_0", "hf:OWNER/REPO:QUANT"),
        ("hf:-acme/tiny", "hf:OWNER/REPO:QUANT"),
        ("hf:acme/$(id)", "hf:OWNER/REPO:QUANT"),
        ("hf:acme/tiny/a\n.gguf", "hf:OWNER/REPO:QUANT"),
        ("/srv/a\0.gguf", "hf:OWNER/REPO:QUANT"),
        ("  ", "hf:OWNER/REPO:QUANT"),
        ("~nobody-of-that-name/x", "Write it out"),
    ],
)
def test_wrong(text: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text, exists=nothing)
    assert remedy in caught.value.remedy


@given(st.one_of(st.text(), st.text().map("hf:".__add__), st.text().map("hf:a/b/".__add__)))
def test_any_text_is_a_reference_that_stays_inside_or_is_refused(text: str) -> None:
    try:
        found = parse(text, exists=nothing)
    except UsageError:
        return
    if isinstance(found, HubFile):
        assert ".." not in found.file.split("/")
        assert not found.file.startswith("/")
        assert "\n" not in found.file
