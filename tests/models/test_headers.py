"""Headers of models, read where they lie: what is moved, from where, with whose token, and what goes wrong."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from orchestrator.errors import DeployError, UsageError
from orchestrator.hosts.secret import Secret
from orchestrator.models.gguf import Length
from orchestrator.models.headers import Headers, read_hub, read_local
from orchestrator.models.ranges import get_range
from orchestrator.models.reference import HubFile, HubQuant, HubReference, HubRepo
from tests.doubles.gguf import head, qwen_14b
from tests.doubles.hub import FakeHub, Fault, Sparse
from tests.models.conftest import Recorder, client
from tests.models.test_gguf import TINY
from tests.models.test_safetensors import safetensors

QWEN = "acme/Qwen2.5-14B-Instruct-GGUF"
MIB = 1 << 20


@pytest.fixture(scope="module")
def qwen() -> Sparse:
    """The real file's sizes: 9 GB, of which the header takes 6 MB."""
    return Sparse(*qwen_14b(merges=True, size=8_988_110_976))


@pytest.fixture
def hub(qwen: Sparse) -> Iterator[FakeHub]:
    with FakeHub(cdn=True) as hub:
        hub.add_repo(QWEN, {"Qwen2.5-14B-Instruct-Q4_K_M.gguf": qwen, "mmproj-F16.gguf": b"x"}, gated=True)
        yield hub


def read(hub: FakeHub, reference: HubReference, token: str | None = None) -> Headers:
    asking = client(hub, token)
    return read_hub(asking, asking.resolve(reference))


def moved(hub: FakeHub) -> int:
    return sum(record.sent for record in hub.downloads())


def test_the_header_of_a_file_of_9_gb_moves_less_than_10_mb(hub: FakeHub, qwen: Sparse) -> None:
    progress, asking = Recorder(), client(hub, hub.token)
    model = asking.resolve(HubQuant(QWEN, "Q4_K_M"))
    headers = read_hub(asking, model, progress)
    assert (headers.format, headers.quant, headers.size) == ("gguf", "Q4_K_M", qwen.size)
    assert headers.tensor_bytes == 8_982_142_976
    assert headers.metadata["qwen2.block_count"] == 48
    assert headers.metadata["tokenizer.ggml.tokens"] == Length(152064)
    assert len(qwen.head) < headers.read_bytes == moved(hub) < 10_000_000
    assert progress.updates[-1] == headers.read_bytes
    assert progress.unit == "bytes"


def test_parts_follow_on_one_another_and_are_doubled(hub: FakeHub) -> None:
    read(hub, HubQuant(QWEN, "Q4_K_M"), hub.token)
    asked = [record.range for record in hub.downloads("/__cdn/") if record.method == "GET"]
    bounds = [0, 1, 2, 4, 8]
    pairs = pairwise(bounds)
    assert asked == [f"bytes={start * MIB}-{stop * MIB - 1}" for start, stop in pairs]


def test_the_token_goes_to_the_hub_and_not_to_where_it_redirects(hub: FakeHub) -> None:
    read(hub, HubQuant(QWEN, "Q4_K_M"), hub.token)
    asked = hub.downloads()
    assert {record.authorization for record in asked if "/resolve/" in record.path} == {f"Bearer {hub.token}"}
    assert {record.authorization for record in asked if "/__cdn/" in record.path} == {""}
    assert {record.encoding for record in asked} == {"identity"}


def test_a_gated_model_is_not_read_without_a_token(hub: FakeHub) -> None:
    with pytest.raises(DeployError, match="is gated"):
        read(hub, HubQuant(QWEN, "Q4_K_M"))


@pytest.mark.parametrize(
    "fault",
    [
        Fault("__cdn", status=503),
        Fault("__cdn", status=429, retry_after="0"),
        Fault("__cdn", cut_after=1000),
        Fault("/resolve/", status=500),
    ],
    ids=["busy", "limited", "cut", "broken"],
)
def test_a_failure_that_passes_is_passed_over(hub: FakeHub, fault: Fault) -> None:
    hub.add_fault(fault)
    assert read(hub, HubQuant(QWEN, "Q4_K_M"), hub.token).tensor_bytes == 8_982_142_976


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault("__cdn", shift=1), "was asked for 'bytes 0-1048575/8988110976'"),
        (Fault("__cdn", extra=5), "it sent 1048581 bytes in place of 1048576"),
    ],
    ids=["shifted", "longer"],
)
def test_an_answer_that_is_not_what_was_asked_for_is_refused(hub: FakeHub, fault: Fault, why: str) -> None:
    hub.add_fault(fault)
    with pytest.raises(DeployError, match="cannot be read in part") as caught:
        read(hub, HubQuant(QWEN, "Q4_K_M"), hub.token)
    assert why in caught.value.why


def test_a_mirror_without_ranges_is_refused_and_not_downloaded(hub: FakeHub) -> None:
    hub.add_repo("acme/tiny", {"tiny-Q8_0.gguf": TINY + bytes(3 * MIB)})
    hub.add_fault(Fault("__cdn", ignore_range=True))
    with pytest.raises(DeployError) as caught:
        read(hub, HubQuant("acme/tiny", "Q8_0"))
    assert caught.value.why == "it answered HTTP 200 to a request for a part"
    assert "HF_ENDPOINT" in caught.value.remedy


def test_a_part_that_trickles_is_not_waited_for_without_end(hub: FakeHub) -> None:
    file = client(hub, hub.token).resolve(HubQuant(QWEN, "Q4_K_M")).files[0]
    with pytest.raises(DeployError) as caught:
        get_range(file, 0, MIB, Secret(hub.token), longest=0)
    assert "bytes in 0 s" in caught.value.why


def test_what_is_no_gguf_is_named(hub: FakeHub) -> None:
    hub.add_repo("acme/page", {"page-Q8_0.gguf": b"<html>" * 10})
    with pytest.raises(UsageError, match=r"page-Q8_0\.gguf is not a whole GGUF"):
        read(hub, HubQuant("acme/page", "Q8_0"))


def split(count: int) -> dict[str, bytes]:
    """A GGUF in parts: the first has the values, each has a tensor of its own."""
    parts = {}
    for number in range(1, count + 1):
        keys: list[tuple[str, int, object]] = [("split.no", 4, number - 1)]
        keys += [("general.architecture", 8, "llama")] if number == 1 else []
        name = f"big-Q8_0-{number:05}-of-{count:05}.gguf"
        parts[name] = head(keys, [(f"blk.{number}.w", 8, (32, 10))]) + bytes(352)
    return parts


def test_every_part_of_a_split_gguf_is_read(hub: FakeHub, tmp_path: Path) -> None:
    files = split(11)
    hub.add_repo("acme/big", files)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    there = read(hub, HubFile("acme/big", "big-Q8_0-00003-of-00011.gguf"))
    here = read_local(tmp_path / "big-Q8_0-00003-of-00011.gguf")
    for headers in (there, here):
        assert [tensor.name for tensor in headers.tensors] == [f"blk.{number}.w" for number in range(1, 12)]
        assert headers.metadata == {"split.no": 0, "general.architecture": "llama"}
        assert headers.size == sum(len(content) for content in files.values())
    assert here.read_bytes == 0


def test_of_parts_without_a_vocabulary_little_is_asked_for(hub: FakeHub) -> None:
    files = {name: Sparse(content, 500 * MIB) for name, content in split(5).items()}
    hub.add_repo("acme/big", files)
    read(hub, HubQuant("acme/big", "Q8_0"))
    sizes = {record.path.rpartition("/")[2]: record.sent for record in hub.downloads("/__cdn/")}
    assert sorted(sizes.values()) == [64 << 10] * 4 + [MIB]
    assert sizes["big-Q8_0-00001-of-00005.gguf"] == MIB


def shards() -> dict[str, bytes]:
    one = {"a": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]}}
    two = {"b": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}}
    return {
        "config.json": json.dumps({"model_type": "qwen2", "num_hidden_layers": 2}).encode(),
        "model-00001-of-00002.safetensors": safetensors(one, 64),
        "model-00002-of-00002.safetensors": safetensors(two, 32) + bytes(9),
        "tokenizer.json": b"{}",
    }


def test_every_shard_of_safetensors_is_read(hub: FakeHub, tmp_path: Path) -> None:
    hub.add_repo("acme/whole", shards())
    for name, content in shards().items():
        (tmp_path / name).write_bytes(content)
    for headers in (read(hub, HubRepo("acme/whole")), read_local(tmp_path)):
        assert [(tensor.name, tensor.size) for tensor in headers.tensors] == [("a", 64), ("b", 32)]
        assert headers.config == {"model_type": "qwen2", "num_hidden_layers": 2}
        assert (headers.format, headers.tensor_bytes) == ("safetensors", 96)


def test_safetensors_without_a_config_are_refused(hub: FakeHub, tmp_path: Path) -> None:
    files = shards()
    del files["config.json"]
    hub.add_repo("acme/bare", files)
    with pytest.raises(UsageError, match=r"hf:acme/bare has no config\.json"):
        read(hub, HubRepo("acme/bare"))
    for name, content in (files | {"config.json": b"[" * 9000}).items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=r"has no config\.json that can be read"):
        read_local(tmp_path)


def test_the_ggufs_of_a_repository_are_listed_by_size(hub: FakeHub) -> None:
    files = {"m-Q8_0.gguf": bytes(300), "m-Q4_K_M.gguf": bytes(100), "mmproj.gguf": b"x", "README.md": b"x"}
    hub.add_repo("acme/m", {**files, **split(2), "half-Q2_K-00001-of-00002.gguf": b"x"})
    found = client(hub).look_up("acme/m").ggufs
    assert [(model.quant, model.main_file) for model in found] == [
        ("Q4_K_M", "m-Q4_K_M.gguf"),
        ("Q8_0", "m-Q8_0.gguf"),
        ("Q8_0", "big-Q8_0-00001-of-00002.gguf"),
    ]
    hub.add_repo("acme/none", {"model.safetensors": b"x"})
    assert client(hub).look_up("acme/none").ggufs == ()


def test_no_local_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file or folder"):
        read_local(tmp_path / "none")
