"""Does it fit, before anything is downloaded: what is adapted, remembered, refused, and told. The facts are those of
the worked example's machine, the header that of its model."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import DeployError, RefusedError
from orchestrator.facts import Facts
from orchestrator.facts.model import GpuProcess, Listener, MigInstance
from orchestrator.fit.ledger import Claim
from orchestrator.models.headers import Headers, read_local
from orchestrator.planning.fitting import Fitting
from orchestrator.planning.manifest import Manifest
from orchestrator.planning.plan import Plan
from orchestrator.spec import Spec, load_spec
from orchestrator.spec.catalogue import default_ollama_version
from tests.doubles.gguf import qwen_14b
from tests.planning.simulation import SimulatedHost
from tests.planning.test_deploy import EXAMPLE, Known, survey
from tests.runtimes.golden import facts_of

OLLAMA = Path("ollama", "worked-example")
FREE = 15831
"""MiB of the card, without a desktop."""


@pytest.fixture(scope="module")
def header(tmp_path_factory: pytest.TempPathFactory) -> Headers:
    path, (head, size) = tmp_path_factory.mktemp("model") / "model.gguf", qwen_14b(size=8_984_954_848)
    path.write_bytes(head)
    os.truncate(path, size)
    return read_local(path)


class Reads(Known):
    """A resolver that counts how often a header was wanted, and may have none."""

    def __init__(self, case: Path, header: Headers | None) -> None:
        super().__init__(case)
        self.header, self.reads = header, 0

    def headers(self, runtime: str) -> Headers:
        self.reads += 1
        if self.header is None:
            raise DeployError("the mirror gives out no parts of files", why="it answered 200 to a Range")
        return self.header


def facts(case: Path = EXAMPLE, *, free: int = FREE, processes: tuple[GpuProcess, ...] = (), **changes: Any) -> Facts:
    found = facts_of(case)
    card = found.gpus[0].model_copy(
        update={"memory_free_mib": free, "memory_used_mib": 16076 - free, "processes": processes}
    )
    return found.model_copy(update={"gpus": (card,), **changes})


def spec(case: Path, **keys: object) -> Spec:
    runtime = case.parts[0]
    return load_spec(None, {f"{runtime}.{key}": value for key, value in keys.items()}, runtimes=(runtime,))


class Desk:
    """One who runs ``up`` on the simulated host."""

    def __init__(self, sim: SimulatedHost, header: Headers | None) -> None:
        self.sim, self.header = sim, header
        self.reads = 0

    def plan(self, case: Path, found: Facts, wanted: Spec, *, force: bool = False, beside: Any = ()) -> Plan:
        resolver, runtime = Reads(case, self.header), case.parts[0]
        fitting = Fitting(wanted, runtime, survey(self.sim, found), resolver, None, beside)  # type: ignore[arg-type]
        made = fitting.judged(self.sim.plan(fitting.wanted), force=force)
        self.reads = resolver.reads
        return made

    def up(self, case: Path, found: Facts, wanted: Spec) -> Manifest:
        made = self.plan(case, found, wanted)
        self.sim.up(made.deployment, found.layout)
        return self.sim.manifests[made.deployment.name]


@pytest.fixture
def desk(sim: SimulatedHost, header: Headers) -> Desk:
    return Desk(sim, header)


def arguments(made: Plan) -> dict[str, str]:
    """The options of `vllm serve`, with their values."""
    container: Any = made.service
    words = list(container.spec.command)
    return dict(pairwise(words))


def running(found: Facts, port: int, **changes: Any) -> Facts:
    """The same host, once an engine listens there."""
    return found.model_copy(update={"listeners": (Listener(address="127.0.0.1", port=port),), **changes})


# what starts


def test_the_article_s_command_fits_its_card(desk: Desk) -> None:
    """Batches that nobody set are made small enough: with 8192 tokens in a step it would only perhaps start."""
    made = desk.plan(EXAMPLE, facts(), spec(EXAMPLE, gpu_mem=1.0, max_model_len=24576))
    decided = made.deployment.fit
    assert decided is not None and decided.estimate is not None
    assert decided.estimate.verdict == "fits"
    assert not made.deployment.warnings
    assert arguments(made)["--max-model-len"] == "24576"
    assert arguments(made)["--max-num-batched-tokens"] == "2048"
    notes = "\n".join(made.deployment.notes)
    assert "--max-num-batched-tokens 2048 instead of 8192: adapted to the memory of this host" in notes
    assert "1.0 means all that is free on NVIDIA GeForce RTX 4060 Ti: 15831 of 16380 MiB" in notes
    assert "it fits: it needs" in notes


def test_a_large_card_needs_no_adapting(desk: Desk) -> None:
    found = facts()
    card = found.gpus[0].model_copy(update={"memory_total_mib": 81559, "memory_free_mib": 80900})
    made = desk.plan(EXAMPLE, found.model_copy(update={"gpus": (card,)}), spec(EXAMPLE))
    assert made.deployment.fit is not None and made.deployment.fit.chosen == {}
    assert arguments(made)["--max-num-batched-tokens"] == "8192"


def test_what_the_user_set_is_left_alone(desk: Desk) -> None:
    made = desk.plan(
        EXAMPLE, facts(), spec(EXAMPLE, max_model_len=24576, max_num_batched_tokens=8192, max_num_seqs=256)
    )
    assert (arguments(made)["--max-num-batched-tokens"], arguments(made)["--max-num-seqs"]) == ("8192", "256")
    (warning,) = made.deployment.warnings
    assert "tight, it may not start" in warning
    assert "more room: --" in warning


def test_ollama_serves_as_many_at_once_as_there_is_room_for(desk: Desk) -> None:
    made = desk.plan(OLLAMA, facts(OLLAMA), spec(OLLAMA))
    assert made.deployment.summary["context"] == "8192 x 2"
    assert "--num-parallel 2 instead of 4: adapted to the memory of this host" in made.deployment.notes


@pytest.mark.parametrize(("parallel", "least", "most"), [(1, 24576, 32000), (4, 4096, 8192)])
def test_auto_is_the_largest_context_for_those_at_once(desk: Desk, parallel: int, least: int, most: int) -> None:
    made = desk.plan(EXAMPLE, facts(), spec(EXAMPLE, max_model_len="auto", num_parallel=parallel))
    length = int(arguments(made)["--max-model-len"])
    assert least <= length <= most
    assert any(f"--max-model-len auto is {length} here" in note for note in made.deployment.notes)
    assert made.deployment.summary["context"] == str(length)


def test_auto_is_left_to_vllm_where_the_whole_context_fits(desk: Desk) -> None:
    """The base model's config may know a shorter one than the GGUF."""
    found = facts()
    card = found.gpus[0].model_copy(update={"memory_total_mib": 81559, "memory_free_mib": 80900})
    made = desk.plan(EXAMPLE, found.model_copy(update={"gpus": (card,)}), spec(EXAMPLE, max_model_len="auto"))
    assert arguments(made)["--max-model-len"] == "auto"


# what is remembered


def test_a_second_run_decides_the_same_and_reads_no_header(desk: Desk) -> None:
    wanted = spec(EXAMPLE, max_model_len="auto")
    first = desk.up(EXAMPLE, facts(), wanted)
    full = running(facts(free=400), 5000)
    again = desk.plan(EXAMPLE, full, wanted)
    assert (again.work, desk.reads) == ((), 0)
    assert again.deployment.fit == first.fit
    assert any("stays" in note and "max-model-len" in note for note in again.deployment.notes)


def test_another_question_is_decided_anew(desk: Desk) -> None:
    desk.up(EXAMPLE, facts(), spec(EXAMPLE, max_model_len="auto"))
    again = desk.plan(EXAMPLE, running(facts(free=400), 15000), spec(EXAMPLE, max_model_len="auto", num_parallel=2))
    assert desk.reads
    assert 8192 < int(arguments(again)["--max-model-len"]) < 16384


@pytest.mark.parametrize("name", ["VLLM::EngineCore", "python3"])
def test_what_it_holds_itself_is_given_back(desk: Desk, name: str) -> None:
    """Whether the driver knows whose the memory is, or not."""
    desk.up(EXAMPLE, facts(), spec(EXAMPLE, gpu_mem=0.9))
    busy = facts(free=500, processes=(GpuProcess(pid=1, name=name, memory_mib=15200),))
    again = desk.plan(EXAMPLE, running(busy, 15000), spec(EXAMPLE, gpu_mem=0.9, kv_cache_dtype="fp8"))
    assert again.work
    assert again.deployment.fit is not None and again.deployment.fit.estimate is not None
    assert again.deployment.fit.estimate.verdict == "fits"


def test_what_a_stranger_holds_is_not_given_back(desk: Desk) -> None:
    desk.up(EXAMPLE, facts(), spec(EXAMPLE, gpu_mem=0.9))
    taken = facts(free=500, processes=(GpuProcess(pid=1, name="game", memory_mib=15200),))  # nothing of ours listens
    with pytest.raises(RefusedError, match="vllm does not fit"):
        desk.plan(EXAMPLE, taken, spec(EXAMPLE, gpu_mem=0.9, kv_cache_dtype="fp8"))


# what is refused


def refused(desk: Desk, case: Path, found: Facts, wanted: Spec, **more: Any) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        desk.plan(case, found, wanted, **more)
    assert caught.value.host == "gpu01"
    return caught.value


def test_what_cannot_start_is_refused_with_the_levers(desk: Desk) -> None:
    error = refused(desk, EXAMPLE, facts(free=14000), spec(EXAMPLE, max_model_len=24576, max_num_seqs=64))
    assert error.what == "vllm does not fit"
    assert "for 24576 tokens x 1 request" in error.why
    assert "GiB short" in error.why
    ways = error.remedy.splitlines()
    assert any(way.startswith("--kv-cache-dtype fp8 (") for way in ways)
    assert any(way.startswith("--max-model-len ") and way.endswith("(fits)") for way in ways)
    assert ways[-1] == "deploy it all the same with --force"


def test_force_goes_on_and_warns(desk: Desk) -> None:
    made = desk.plan(EXAMPLE, facts(free=14000), spec(EXAMPLE, max_model_len=24576), force=True)
    (warning,) = made.deployment.warnings
    assert warning.startswith("vllm does not fit, and is deployed all the same: ")


def test_where_no_setting_helps_a_smaller_model_is_named(desk: Desk) -> None:
    error = refused(desk, EXAMPLE, facts(free=8000), spec(EXAMPLE, max_model_len=24576))
    assert "deployctl fit hf:lmstudio-community/Qwen2.5-14B-Instruct-GGUF compares them" in error.remedy


def test_ollama_starts_with_a_part_on_the_cpu_and_warns(desk: Desk) -> None:
    made = desk.plan(OLLAMA, facts(OLLAMA), spec(OLLAMA, context=24576, num_parallel=2))
    (warning,) = made.deployment.warnings
    assert "% of the model will run on the CPU, slowly" in warning
    assert "--num-parallel 1 (" in warning


def test_a_cpu_is_judged_by_main_memory(desk: Desk) -> None:
    wanted = spec(OLLAMA, context=8192, num_parallel=1)
    plenty = facts(OLLAMA, gpus=(), memory_available=16 << 30)
    assert any("free on the host's memory" in note for note in desk.plan(OLLAMA, plenty, wanted).deployment.notes)
    error = refused(desk, OLLAMA, plenty.model_copy(update={"memory_available": 6 << 30}), wanted)
    assert "of 6.00 GiB free on the host's memory" in error.why


def test_an_estimate_only_warns(desk: Desk, header: Headers) -> None:
    odd = {key.replace("qwen2.", "novel."): value for key, value in header.metadata.items()}
    odd["general.architecture"] = "novel"
    desk.header = Headers(header.format, header.quant, header.size, 0, header.tensors, metadata=odd)
    made = desk.plan(EXAMPLE, facts(free=9000), spec(EXAMPLE))
    (warning,) = made.deployment.warnings
    assert warning.startswith("estimate only (")
    assert made.deployment.fit is not None and made.deployment.fit.chosen == {}


def test_without_a_header_it_goes_on(sim: SimulatedHost) -> None:
    made = Desk(sim, None).plan(EXAMPLE, facts(free=9000), spec(EXAMPLE))
    assert not made.deployment.warnings
    said = "whether it fits is not known: the mirror gives out no parts of files it answered 200 to a Range"
    assert said in made.deployment.notes


# two on one card


def test_a_sleeping_deployment_keeps_its_room(desk: Desk) -> None:
    """Ollama's model is unloaded after five minutes: what it was promised is not free for all that."""
    desk.up(OLLAMA, facts(OLLAMA), spec(OLLAMA))
    asleep = running(facts(), 11434)
    error = refused(desk, EXAMPLE, asleep, spec(EXAMPLE, max_model_len=8192))
    assert "ollama is promised 11." in error.why
    assert "deployctl down ollama" in error.remedy.splitlines()


def test_nobody_is_pushed_out(desk: Desk) -> None:
    """A share of the memory that is free at the moment, and that another one was promised."""
    desk.up(OLLAMA, facts(OLLAMA), spec(OLLAMA, context=4096, num_parallel=1))
    wanted = spec(EXAMPLE, gpu_mem=0.9, max_model_len=8192)
    error = refused(desk, EXAMPLE, running(facts(), 11434), wanted)
    assert error.what == "vllm would push ollama out of the GPU"
    assert desk.plan(EXAMPLE, running(facts(), 11434), wanted, force=True).deployment.warnings


def test_all_that_is_free_leaves_others_their_room(desk: Desk) -> None:
    desk.up(OLLAMA, facts(OLLAMA), spec(OLLAMA, context=4096, num_parallel=1))
    made = desk.plan(EXAMPLE, running(facts(), 11434), spec(EXAMPLE, max_model_len=8192), force=True)
    assert float(made.deployment.summary["gpu_utilization"]) < 0.45


def test_those_of_the_same_run_count(desk: Desk) -> None:
    error = refused(desk, EXAMPLE, facts(), spec(EXAMPLE), beside=(Claim("ollama", 0, 12 << 30),))
    assert "ollama is promised 12.00 GiB of GPU 0" in error.why


def test_slices_of_a_card_are_not_added_up(desk: Desk) -> None:
    """Which deployment is on which slice is not known."""
    found = facts()
    one = MigInstance(index=0, profile="1g", memory_total_mib=16380, memory_used_mib=0, memory_free_mib=15831)
    card = found.gpus[0].model_copy(update={"mig": True, "mig_instances": (one,)})
    shared = found.model_copy(update={"gpus": (card,)})
    made = desk.plan(EXAMPLE, shared, spec(EXAMPLE), beside=(Claim("ollama", 0, 12 << 30),))
    assert not made.deployment.warnings


def test_what_is_down_has_no_claim(desk: Desk) -> None:
    desk.up(OLLAMA, facts(OLLAMA), spec(OLLAMA))
    desk.sim.down("ollama", facts().layout)
    made = desk.plan(EXAMPLE, facts(), spec(EXAMPLE))
    assert not made.deployment.warnings


def test_the_example_is_of_today_s_ollama(desk: Desk) -> None:
    made = desk.plan(OLLAMA, facts(OLLAMA), spec(OLLAMA, context=24576, num_parallel=1))
    assert made.deployment.summary["version"] == default_ollama_version()
    assert any("it fits" in note for note in made.deployment.notes)
