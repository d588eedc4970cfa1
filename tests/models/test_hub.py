"""Resolving on a Hub by huggingface_hub, and what its refusals become."""

import hashlib
from collections.abc import Iterator

import pytest

from orchestrator.errors import DeployError, UsageError
from orchestrator.hosts.secret import Secret
from orchestrator.models.hub import HubClient
from orchestrator.models.reference import HubFile, HubQuant, HubRepo
from orchestrator.models.resolved import ResolvedModel
from tests.doubles.hub import FakeHub, Fault
from tests.models.conftest import FILE, REPO, WEIGHTS, client

SHARDS = {f"q8/big-Q8_0-{number:05}-of-00002.gguf": bytes([number]) * number for number in (1, 2)}
WHOLE = {
    "config.json": b'{"model_type": "llama"}',
    "generation_config.json": b'{"temperature": 0.7}',
    "tokenizer.json": b"{}",
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"pickle",
}


def test_a_gguf_is_pinned(hub: FakeHub) -> None:
    model = client(hub).resolve(HubQuant(REPO, "q4_k_m"))
    repo = hub.repo(REPO)
    assert repo is not None
    assert (model.repo, model.commit, model.format, model.quant) == (REPO, repo.commit, "gguf", "Q4_K_M")
    (file,) = model.files
    assert file.path == model.main_file == FILE
    assert file.url == f"{hub.url}/{REPO}/resolve/{repo.commit}/{FILE}"
    assert (file.size, file.sha256, file.git_sha1) == (len(WEIGHTS), hashlib.sha256(WEIGHTS).hexdigest(), None)
    assert ResolvedModel.model_validate_json(model.model_dump_json()) == model


def test_a_split_gguf_in_a_folder(hub: FakeHub) -> None:
    hub.add_repo("acme/big", SHARDS)
    for reference in (HubQuant("acme/big", "Q8_0"), HubFile("acme/big", "q8/big-Q8_0-00002-of-00002.gguf")):
        model = client(hub).resolve(reference)
        assert [file.path for file in model.files] == list(SHARDS)
        assert model.main_file == "q8/big-Q8_0-00001-of-00002.gguf"
        assert model.size == 3


def test_a_whole_repository(hub: FakeHub) -> None:
    repo = hub.add_repo("acme/whole", WHOLE)
    model = client(hub).resolve(HubRepo("acme/whole"), repo.commit)
    assert [file.path for file in model.files] == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert (model.format, model.main_file) == ("safetensors", "model.safetensors")
    config = model.file("config.json")
    assert config is not None
    assert (config.sha256, config.git_sha1) == (None, repo.files["config.json"].git_sha1)


def test_the_base_of_a_gguf(hub: FakeHub) -> None:
    hub.add_repo("acme/whole", WHOLE)
    base = client(hub).resolve_base("acme/whole")
    assert [file.path for file in base.files] == ["config.json", "generation_config.json", "tokenizer.json"]
    hub.add_repo("acme/bare", {FILE: WEIGHTS})
    with pytest.raises(UsageError, match=r"no config\.json"):
        client(hub).resolve_base("acme/bare")


def test_a_small_json_file(hub: FakeHub) -> None:
    repo = hub.add_repo("acme/whole", {**WHOLE, "list.json": b"[]", "large.json": b" " * (5 << 20)})
    asking = client(hub)
    assert asking.fetch_json("acme/whole", repo.commit, "generation_config.json") == {"temperature": 0.7}
    assert asking.fetch_json("acme/whole", repo.commit, "none.json") is None
    for file in ("list.json", "large.json"):
        with pytest.raises(DeployError, match="not a JSON object"):
            asking.fetch_json("acme/whole", repo.commit, file)


def test_a_private_repository_of_a_mirror(hub: FakeHub) -> None:
    hub.add_repo("acme/secret", {FILE: WEIGHTS}, private=True)
    mirror = HubClient(hub.url + "/", Secret(hub.token))
    assert mirror.resolve(HubFile("acme/secret", FILE)).files[0].url.startswith(hub.url + "/acme")


def test_without_a_token_none_is_sent(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody")
    client(hub).resolve(HubFile(REPO, FILE))
    assert {record.authorization for record in hub.records} == {""}


@pytest.mark.parametrize(
    ("token", "what", "remedy"),
    [
        (None, "is gated", "set HF_TOKEN"),
        ("hf_wrong", "has not been let in", "Accept the licence"),
    ],
)
def test_gated(hub: FakeHub, token: str | None, what: str, remedy: str) -> None:
    hub.add_repo("acme/gated", {FILE: WEIGHTS}, gated=True)
    with pytest.raises(DeployError, match=what) as caught:
        client(hub, token).resolve(HubFile("acme/gated", FILE))
    assert remedy in caught.value.remedy
    assert f"{hub.url}/acme/gated" in caught.value.remedy
    assert client(hub, hub.token).resolve(HubFile("acme/gated", FILE)).files


@pytest.mark.parametrize(
    ("token", "what"), [(None, "no hf:acme/none at"), ("hf_wrong", "does not accept the token"), ("hf_test", "private")]
)
def test_no_such_repository(hub: FakeHub, token: str | None, what: str) -> None:
    with pytest.raises(DeployError, match=what):
        client(hub, token).resolve(HubRepo("acme/none"))


def test_no_such_revision_or_file(hub: FakeHub) -> None:
    with pytest.raises(UsageError, match="no revision v9"):
        client(hub).resolve(HubFile(REPO, FILE), "v9")
    with pytest.raises(UsageError, match=r"no file none\.gguf"):
        client(hub).resolve(HubFile(REPO, "none.gguf"))


@pytest.mark.parametrize(
    ("status", "what", "asked"), [(429, "HTTP 429", 3), (503, "HTTP 503", 3), (403, "may not read", 1), (400, "400", 1)]
)
def test_statuses(hub: FakeHub, status: int, what: str, asked: int) -> None:
    hub.add_fault(Fault("/api/models", times=9, status=status))
    with pytest.raises(DeployError, match=what) as caught:
        client(hub, "hf_canary").resolve(HubFile(REPO, FILE))
    assert len(hub.records) == asked
    assert "hf_canary" not in repr(vars(caught.value)) + repr(caught.value.__cause__)


def test_a_busy_hub_is_asked_again(hub: FakeHub) -> None:
    hub.add_fault(Fault("/api/models", times=2, status=503))
    assert client(hub).resolve(HubFile(REPO, FILE)).files


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://no-such-host.invalid"])
def test_no_hub_at_all(endpoint: str) -> None:
    with pytest.raises(DeployError, match="cannot be reached") as caught:
        HubClient(endpoint, None, tries=2, pause=0).resolve(HubRepo(REPO))
    assert caught.value.why
    assert "HF_ENDPOINT" in caught.value.remedy


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As huggingface_hub reads HF_HUB_OFFLINE when it is imported."""
    from huggingface_hub import close_session, constants

    close_session()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    yield
    close_session()


def test_offline(hub: FakeHub, offline: None) -> None:
    with pytest.raises(DeployError, match="HF_HUB_OFFLINE"):
        client(hub).resolve(HubFile(REPO, FILE))
    assert hub.records == []


@pytest.mark.parametrize("endpoint", ["ftp://x", "huggingface.co", "https://", "https://me:pw@x", "http://x\ny"])
def test_an_endpoint_that_is_none(endpoint: str) -> None:
    with pytest.raises(UsageError, match="HF_ENDPOINT") as caught:
        HubClient(endpoint, Secret("hf_canary"))
    assert "pw" not in caught.value.what


@pytest.mark.parametrize("path", ["../evil.gguf", "/evil.gguf", "a/../../evil.gguf", "evil\n.gguf"])
def test_a_hub_cannot_name_files_outside(hub: FakeHub, path: str) -> None:
    hub.add_repo("acme/evil", {path: b"x"})
    with pytest.raises(DeployError, match="cannot be used"):
        client(hub).resolve(HubFile("acme/evil", path))


def test_an_answer_that_is_no_hubs(hub: FakeHub) -> None:
    hub.add_fault(Fault("/api/models", times=9, status=200))
    with pytest.raises(DeployError, match="cannot be used") as caught:
        client(hub).resolve(HubFile(REPO, FILE))
    assert "HF_ENDPOINT" in caught.value.remedy
