"""What is made of how a deployment looks: its state, and a remedy for whatever is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.health.engine import Engine
from orchestrator.health.entrance import Leak, Seen
from orchestrator.health.service import ServiceState
from orchestrator.health.taken import Taken
from orchestrator.planning.devices import Devices
from orchestrator.planning.manifest import Entry, Manifest
from orchestrator.planning.standing import Drift, Sight, standing
from tests.runtimes.golden import deployment_of

OLLAMA, VLLM = Path("ollama", "worked-example"), Path("vllm", "worked-example")
LOGS = Path(__file__).parents[1] / "health" / "logs"
LOADING = (LOGS / "vllm_start.txt").read_text("utf-8").split("Loading weights took")[0]
RUNS = ServiceState(running=True, detail="running")
WELL = Seen(key=True, with_key=200, without_key=401, with_wrong_key=401)
SERVES = Engine(health=200)
GIB = 1 << 30
ON_GPU = Engine(health=200, loaded=Taken(size_bytes=9 * GIB, vram_bytes=9 * GIB))
ON_CPU = Engine(health=200, loaded=Taken(size_bytes=9 * GIB, vram_bytes=0))
PARTLY = Engine(health=200, loaded=Taken(size_bytes=10 * GIB, vram_bytes=9 * GIB))
CARD = Devices(gpus=(0,), meant=(0,))
LEAK = Leak(place="10.0.0.5:15000", key="without a key", status=200, seen_from="gpu01")
DRIFT = Drift(title="file", identity="/etc/x", cause="by hand", differences=())


def manifest(case: Path = VLLM, **changes: object) -> Manifest:
    made = deployment_of(case)
    return Manifest.model_validate(
        {
            "name": made.name,
            "runtime": made.runtime,
            "status": "applied",
            "applied_at": "2026-11-24T12:00:00+00:00",
            "applied_by": "ada@desk",
            "tool": "0",
            "summary": made.summary,
            "endpoint": made.endpoint,
            "service": made.service,
            "entries": tuple(Entry(resource=resource) for resource in made.resources),
            **changes,
        }
    )


def seen(case: Path = VLLM, **changes: Any) -> Sight:
    status = changes.pop("status", "applied")
    given = {"manifest": manifest(case, status=status), "service": RUNS, "engine": SERVES, "entrance": WELL}
    return Sight.model_validate({**given, **changes})


STATES: dict[str, tuple[Sight, str, str, str]] = {
    "all is well": (seen(devices=CARD), "serving", "", ""),
    "a run that was cut": (seen(status="applying"), "unfinished", "did not finish", "deployctl up vllm goes on"),
    "no answer in time": (seen(late=True), "unknown", "did not answer", "whether Docker answers"),
    "it loads": (seen(engine=Engine(log=LOADING)), "starting", "", ""),
    "it dies again and again": (
        seen(service=ServiceState(running=True, restarts=5), engine=Engine(log="ValueError: No available memory for")),
        "failed",
        "answers nothing",
        "deployctl diagnose vllm",
    ),
    "it was ready and answers no more": (
        seen(engine=Engine(health=503, log="INFO: Application startup complete.\n")),
        "failed",
        "it runs, but answers 503",
        "deployctl diagnose vllm",
    ),
    "it was stopped": (
        seen(service=ServiceState(running=False, detail="exited 0")),
        "stopped",
        "exited 0",
        "deployctl up vllm starts it again",
    ),
    "it failed": (
        seen(
            service=ServiceState(running=False, detail="failed failed exit-code (1)"),
            engine=Engine(log="OSError: [Errno 98] Address already in use\n"),
        ),
        "failed",
        "failed exit-code (1): ",
        "",
    ),
    "it was killed for memory": (
        seen(service=ServiceState(running=False, detail="exited 137 (OOM killed)")),
        "failed",
        "OOM killed",
        "",
    ),
    "a file was changed": (seen(drift=(DRIFT,)), "drifted", "", ""),
    "a changed file counts less than what is wrong": (
        seen(drift=(DRIFT,), entrance=Seen(key=True)),
        "degraded",
        "the gateway does not answer at",
        "deployctl up vllm starts it again; deployctl logs --gateway says why",
    ),
    "the gateway leads nowhere": (
        seen(entrance=Seen(key=True, with_key=502, without_key=401, with_wrong_key=401)),
        "degraded",
        "answers 502 with a key",
        "deployctl up vllm",
    ),
    "no key is left": (
        seen(entrance=Seen(without_key=401, with_wrong_key=401)),
        "degraded",
        "holds no key for users",
        "deployctl keys create vllm KEY",
    ),
    "the gateway lets everybody in": (
        seen(entrance=WELL.model_copy(update={"without_key": 200})),
        "degraded",
        "OPEN: http://",
        "deployctl up vllm",
    ),
    "the engine is open": (
        seen(entrance=WELL.model_copy(update={"leaks": (LEAK,)})),
        "degraded",
        "OPEN: 15000 answers without a key on 10.0.0.5",
        "ss -ltnp",
    ),
    "Ollama on its GPU": (seen(OLLAMA, engine=ON_GPU, devices=CARD), "serving", "", ""),
    "Ollama idle on a GPU's host": (seen(OLLAMA, devices=Devices(gpus=(), meant=(0,))), "serving", "", ""),
    "Ollama on a CPU, as it was meant": (seen(OLLAMA, engine=ON_CPU), "serving", "", ""),
    "Ollama has fallen back to the CPU": (
        seen(OLLAMA, engine=ON_CPU, devices=Devices(gpus=(), meant=(0,))),
        "degraded",
        "runs on the CPU, not on the GPU",
        "modprobe nvidia_uvm",
    ),
    "Ollama says why it has": (
        seen(
            OLLAMA,
            engine=ON_CPU.model_copy(
                update={
                    "log": 'level=WARN msg="NVIDIA driver too old" device="RTX 3090" compute=8.6 driver=11 '
                    'required_driver="12.2"\n'
                }
            ),
            devices=Devices(meant=()),
        ),
        "degraded",
        "driver 11 is too old",
        "Update the NVIDIA driver to 12.2",
    ),
    "part of an Ollama model on the CPU": (
        seen(OLLAMA, engine=PARTLY, devices=CARD),
        "degraded",
        "10 % of the model runs on the CPU",
        "deployctl fit",
    ),
    "the driver does not know a loaded Ollama": (
        seen(OLLAMA, engine=ON_GPU, devices=Devices(gpus=(), meant=(0,))),
        "degraded",
        "lists none of its processes",
        "nvidia-smi",
    ),
    "the driver's list cannot be told": (seen(OLLAMA, engine=ON_GPU, devices=Devices(meant=(0,))), "serving", "", ""),
    "vLLM on no GPU": (seen(devices=Devices(gpus=(), meant=())), "degraded", "computes on the CPU", "nvidia-smi"),
    "vLLM on another GPU": (
        seen(devices=Devices(gpus=(1,), meant=(0,))),
        "degraded",
        "computes on GPU 1, and was meant for 0",
        "--gpus",
    ),
    "the driver is gone after an update": (
        seen(gpu_problem="Failed to initialize NVML: Driver/library version mismatch", devices=Devices(meant=(0,))),
        "degraded",
        "the GPU is gone: Failed to initialize NVML",
        "eboot",
    ),
    "a driver that fails where a CPU was meant": (seen(gpu_problem="No devices were found"), "serving", "", ""),
    "it was restarted": (
        seen(service=ServiceState(running=True, restarts=2)),
        "serving",
        "restarted by itself 2 times",
        "deployctl logs vllm",
    ),
}


@pytest.mark.parametrize("case", STATES)
def test_states_and_remedies(case: str) -> None:
    sight, state, what, remedy = STATES[case]
    found, _, remarks = standing(sight)
    assert found == state
    if not what:
        assert remarks == ()
        return
    assert what in remarks[0].what and remedy in remarks[0].remedy, remarks
    assert all(remark.remedy for remark in remarks)


def test_a_start_tells_how_far_it_is() -> None:
    _, phase, _ = standing(seen(engine=Engine(log=LOADING)))
    assert phase is not None and phase.name == "loading weights" and phase.percent is not None


def test_an_engine_that_is_open_on_purpose_is_told_and_serves() -> None:
    made = manifest()
    exposed = made.endpoint.model_copy(update={"gateway": None, "open": True})
    state, _, remarks = standing(
        Sight(manifest=made.model_copy(update={"endpoint": exposed}), service=RUNS, engine=SERVES)
    )
    assert state == "serving"
    assert [remark.what.partition(":")[0] for remark in remarks] == ["OPEN"]


def test_a_secret_of_the_log_is_in_no_remark() -> None:
    log = "RuntimeError: --api-key sk-c4nary-c4nary-c4nary is wrong\n"
    service = ServiceState(running=False, detail="failed failed exit-code (1)")
    _, _, remarks = standing(seen(service=service, engine=Engine(log=log)))
    assert remarks and all("c4nary" not in remark.what + remark.remedy for remark in remarks)
