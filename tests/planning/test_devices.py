"""Where an engine computes, by what the driver lists."""

from __future__ import annotations

import pytest

from orchestrator.facts import Facts, Gpu
from orchestrator.facts.model import GpuProcess
from orchestrator.fit.decided import Decided
from orchestrator.fit.memory import Estimate, Placed
from orchestrator.health.processes import Processes
from orchestrator.planning.devices import Devices, devices, meant_for
from orchestrator.planning.manifest import Manifest
from orchestrator.planning.nominal import nominal_facts
from tests.planning.test_standing import OLLAMA, VLLM, manifest

MIB, GIB = 1 << 20, 1 << 30
RUNNING = Processes(
    parents={100: 1, 101: 100, 200: 1}, ages_s={100: 9.0, 101: 8.0, 200: 7.0}, resident={100: 5, 101: 6, 200: 900}
)
MINE = RUNNING.family(100)


def facts(*listed: tuple[GpuProcess, ...], used: int = 4000) -> Facts:
    """A host with a GPU for each list of processes."""
    cards = tuple(
        Gpu(
            index=index,
            uuid=f"GPU-{index}",
            name="A100",
            memory_total_mib=40960,
            memory_free_mib=40960 - used,
            memory_used_mib=used,
            driver="580",
            processes=processes,
        )
        for index, processes in enumerate(listed)
    )
    return nominal_facts(16384, gpu=False, systemd=True).model_copy(update={"gpus": cards})


def process(pid: int, mib: int | None = 3000, name: str = "VLLM::EngineCore") -> GpuProcess:
    return GpuProcess(pid=pid, name=name, memory_mib=mib)


def on(seen: Facts, made: Manifest | None = None, *, alone: bool = True) -> Devices:
    return devices(made or manifest(VLLM), seen, RUNNING, MINE, alone=alone)


@pytest.mark.parametrize(
    ("seen", "alone", "gpus", "held"),
    [
        (facts((), (process(101),)), True, (1,), 3000),
        (facts((process(100, 1000),), (process(101, 2000),)), True, (0, 1), 3000),
        (facts((process(200),)), False, (), None),  # another's, of the same name
        (facts((process(4711),)), True, (0,), 3000),  # seen from within a container: by name
        (facts((process(4711, name="python train.py"),)), True, (), None),
        (facts((process(101, None),)), True, (0,), None),
        (facts((), used=10), True, (), None),  # an idle card
        (facts(()), True, None, None),  # memory is held, and nobody listed
        (facts(), True, None, None),
    ],
)
def test_where_it_computes(seen: Facts, alone: bool, gpus: tuple[int, ...] | None, held: int | None) -> None:
    found = on(seen, alone=alone)
    assert (found.gpus, found.gpu_bytes) == (gpus, None if held is None else held * MIB)
    assert found.ram_bytes == 11


def fitted(*gpus: int | None) -> Decided:
    """A decision that places a model there."""
    counts = dict.fromkeys(
        ("need_low_bytes", "need_high_bytes", "free_bytes", "reserve_bytes", "short_bytes", "kv_low_bytes"), GIB
    )
    placed = tuple(Placed(gpu=gpu, name="x", need_bytes=GIB, free_bytes=GIB, layers=1) for gpu in gpus)
    estimate = Estimate.model_validate(
        {
            **counts,
            "runtime": "ollama",
            "verdict": "fits",
            "certain": True,
            "doubts": (),
            "notes": (),
            "context_tokens": 1,
            "parallel": 1,
            "parts": (),
            "kv_high_bytes": 0,
            "kv_request_bytes": 0,
            "placed": placed,
        }
    )
    return Decided(asked="", estimate=estimate)


def test_what_it_was_meant_for() -> None:
    cards, none = facts((), ()), facts()
    assert meant_for(manifest(VLLM), cards) == ()
    assert meant_for(manifest(VLLM, fit=fitted(0, 1)), none) == (0, 1)
    assert meant_for(manifest(VLLM, summary={"device": "cpu"}), cards) is None
    assert meant_for(manifest(OLLAMA), cards) == () and meant_for(manifest(OLLAMA), none) is None
    assert meant_for(manifest(OLLAMA, fit=fitted(0, None)), none) == (0,)
    assert meant_for(manifest(OLLAMA, fit=fitted(None)), cards) is None


def test_what_was_predicted() -> None:
    found = on(facts(), manifest(VLLM, fit=fitted(0)))
    assert (found.predicted_low_bytes, found.predicted_high_bytes) == (GIB, GIB)
    assert on(facts()).predicted_high_bytes is None
