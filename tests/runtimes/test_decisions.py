"""Single decisions of the runtimes, where a golden case would say too much."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import RefusedError, UsageError
from orchestrator.facts import Gpu, Python
from orchestrator.resources.container import Container
from orchestrator.resources.files import Directory
from orchestrator.resources.service import Service
from orchestrator.resources.venv import Venv
from orchestrator.runtimes import gpu, vllm_args
from orchestrator.runtimes.common import python_for
from orchestrator.spec import load_spec, model_for, served_name
from tests.runtimes.golden import deployable, deployment_of, facts_of, inputs_of, wanted

VENV = Path("vllm", "venv-systemd")
CONTAINER = Path("vllm", "worked-example")


def container_of(**facts: object) -> Container:
    """The worked example's container on a host that differs in this."""
    seen = facts_of(CONTAINER).model_copy(update=facts)
    (found,) = [item for item in wanted(inputs_of(CONTAINER, seen), "vllm").resources if isinstance(item, Container)]
    return found


def test_a_container_is_not_root_s_where_root_deploys() -> None:
    assert container_of(uid=0, gid=0).spec.user == "2000:0"
    assert container_of(uid=1000, gid=1001).spec.user == "1000:1001"


def test_nobody_of_the_host_shares_the_container_s_number() -> None:
    taken = container_of(uid=0, gid=0, accounts=frozenset({"uid:2000"}))
    assert taken.spec.user == "0:0" and taken.spec.cap_drop == ("ALL",) and taken.spec.read_only


def test_a_container_gets_the_groups_of_the_gpus_device_files() -> None:
    assert container_of(gpu_groups=(44, 109)).spec.group_add == ("44", "109")
    assert container_of().spec.group_add == ()


def card(total: int, free: int, index: int = 0) -> Gpu:
    return Gpu(index=index, uuid="", name="card", memory_total_mib=total, memory_free_mib=free, driver="580.95.05")


@given(st.integers(1024, 400_000), st.floats(0, 1))
def test_all_that_is_free_is_less_than_what_is_free(total: int, share: float) -> None:
    """vLLM starts only when total times utilization fits into what its own CUDA context leaves (measured 0.51 GiB)."""
    free = int(total * share)
    found = gpu.share(1.0, [card(total, free)], {}).utilization
    assert 0 < found < 1
    assert found * total <= max(free - 523, 0.01 * total)


def test_of_several_gpus_the_fullest_decides() -> None:
    both = gpu.share(1.0, [card(16000, 15800), card(16000, 8000, 1)], {})
    assert both == gpu.share(1.0, [card(16000, 8000)], {})


def test_what_was_translated_once_stays_while_it_runs() -> None:
    """Else every run would find less free memory (the engine's own) and restart the engine with less."""
    cards = [card(16000, 15800)]
    first = gpu.share(1.0, cards, {})
    again = gpu.share(1.0, [card(16000, 300)], gpu.remembered(1.0, first))
    assert again.utilization == first.utilization
    assert gpu.remembered(1.0, again) == gpu.remembered(1.0, first)


def test_a_share_of_the_user_s_own_passes_unchanged() -> None:
    assert gpu.share(0.37, [card(16000, 15800)], {"gpu_mem": "1", "gpu_utilization": "0.9"}).utilization == 0.37


PYTHONS = (
    Python(path="/usr/bin/python3.13", version=(3, 13), venv=True),
    Python(path="/usr/bin/python3.11", version=(3, 11), venv=False),
    Python(path="/usr/bin/python3", version=(3, 13), venv=True),
)


def test_the_python_that_is_named_is_taken_or_refused() -> None:
    facts = facts_of(VENV).model_copy(update={"pythons": PYTHONS})
    assert python_for(facts, (3, 8)) == "/usr/bin/python3"
    assert python_for(facts, (3, 8), "python3.13") == "/usr/bin/python3.13"
    assert python_for(facts, (3, 8), "/usr/bin/python3.13") == "/usr/bin/python3.13"
    for missing in ("python3.12", "/opt/bin/python3", "python3.11"):
        with pytest.raises(RefusedError) as refused:
            python_for(facts, (3, 8), missing)
        assert refused.value.host == facts.host
    with pytest.raises(RefusedError):
        python_for(facts, (3, 8), most=(3, 12))  # the only one that is old enough can make no environments


def test_other_packages_restart_the_engine() -> None:
    """Also when the run that changed them was cut before the restart: the fingerprint tells."""
    inputs = inputs_of(VENV)
    section = inputs.spec.for_runtime("vllm").model_copy(update={"pip_args": ("--pre",)})
    other = wanted(inputs.model_copy(update={"spec": inputs.spec.model_copy(update={"vllm": section})}), "vllm")

    def service(resources: tuple[object, ...]) -> Service:
        return next(item for item in resources if isinstance(item, Service))

    one = deployment_of(VENV)
    venv = next(item for item in one.resources if isinstance(item, Venv))
    assert venv.address in service(one.resources).follows
    assert service(one.resources).fingerprint != service(other.resources).fingerprint


@pytest.mark.parametrize("case", deployable(), ids=str)
def test_no_deployment_can_have_the_name_of_a_shared_folder(case: Path) -> None:
    """It would own, and at its end delete, what all deployments of the host share: their models, their manifests."""
    deployment, layout = deployment_of(case), facts_of(case).layout
    roots = {layout.state, layout.config, layout.data}
    paths = [item.path for item in deployment.resources if isinstance(item, Directory)]
    paths += [layout.deployment_state(deployment.name), layout.opt]
    beside = {
        PurePosixPath(path).relative_to(root).parts[0]
        for path in paths
        for root in roots
        if path.startswith(f"{root}/")
    }
    assert deployment.name in beside
    for name in beside - {deployment.name}:
        with pytest.raises(UsageError):
            load_spec(None, {f"{case.parent.name}.name": name}, runtimes=(case.parent.name,))


@given(st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=30))
def test_any_file_name_becomes_a_served_name_that_vllm_reads(name: str) -> None:
    try:
        spec = load_spec(None, {"model.source": f"./{name}.gguf"}, runtimes=("vllm",))
    except UsageError:
        return
    assert model_for(spec, "vllm").title
    (argument,) = vllm_args.parse(["--served-model-name", served_name(spec)], "0.32.0")
    assert argument.values == (served_name(spec),)


def test_a_host_without_libnuma_is_told_before_the_cpu_build_is_installed() -> None:
    """Measured: without it vLLM's own library is not loaded, and the engine dies with an AttributeError."""

    def outcome(case: Path) -> str:
        facts = facts_of(case).model_copy(update={"lacks": frozenset({"libnuma.so.1"})})
        try:
            return wanted(inputs_of(case, facts), "vllm").name
        except RefusedError as error:
            return error.remedy

    assert "libnuma1" in outcome(Path("vllm", "venv-systemd-cpu"))
    assert outcome(Path("vllm", "cpu-container-gguf")) == outcome(VENV) == "vllm", "containers and CUDA need it not"
