"""What must hold of every deployment, whatever the case."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path, PurePosixPath
from typing import TypeVar

import pytest
from pydantic import TypeAdapter

from orchestrator.health.endpoint import Endpoint
from orchestrator.resources.container import Container
from orchestrator.resources.files import ApiKey, Content, Directory, UnitFile
from orchestrator.resources.gateway_keys import GatewayKeys
from orchestrator.resources.gateway_site import GatewaySite
from orchestrator.resources.model_files import ModelFiles
from orchestrator.resources.ollama_model import OllamaModel
from orchestrator.resources.process import Process
from orchestrator.resources.registry import AnyResource
from orchestrator.resources.release import Release
from orchestrator.resources.service import Service
from orchestrator.resources.venv import Venv
from orchestrator.runtimes import vllm_args
from orchestrator.runtimes.deployment import Deployment
from orchestrator.spec import OllamaSpec, VllmSpec, engine_port
from tests.runtimes.golden import deployable, deployment_of, facts_of, inputs_of, spec_of, wanted

CASES = deployable()
SYSTEM_DIRECTORIES = {"/", "/etc", "/var/lib", "/opt", "/etc/systemd/system", "/root", "/home/ada"}
every = pytest.mark.parametrize("case", CASES, ids=str)
each_vllm = pytest.mark.parametrize("case", [case for case in CASES if case.parent.name == "vllm"], ids=str)
each_ollama = pytest.mark.parametrize("case", [case for case in CASES if case.parent.name == "ollama"], ids=str)


T = TypeVar("T")


def of_kind(deployment: Deployment, kind: type[T]) -> list[T]:
    return [resource for resource in deployment.resources if isinstance(resource, kind)]


@every
def test_the_same_inputs_always_give_the_same(case: Path) -> None:
    free = facts_of(case).model_copy(update={"listeners": ()})
    assert wanted(inputs_of(case, free), case.parent.name) == wanted(inputs_of(case, free), case.parent.name)


@every
def test_survives_json(case: Path) -> None:
    deployment = deployment_of(case)
    assert Deployment.model_validate_json(deployment.model_dump_json()) == deployment
    for resource in deployment.resources:
        assert TypeAdapter(AnyResource).validate_json(resource.model_dump_json()) == resource


@every
def test_every_resource_has_an_address_of_its_own(case: Path) -> None:
    addresses = [resource.address for resource in deployment_of(case).resources]
    assert len(addresses) == len(set(addresses))


@every
def test_a_service_follows_only_what_is_made_before_it(case: Path) -> None:
    earlier: set[str] = set()
    for resource in deployment_of(case).resources:
        if isinstance(resource, Service):
            assert resource.follows
            assert set(resource.follows) <= earlier
        earlier.add(resource.address)


@every
def test_the_service_is_what_the_deployment_names(case: Path) -> None:
    deployment = deployment_of(case)
    (front,) = [item.address for item in of_kind(deployment, Service) if item.address != deployment.service] or [None]
    assert front == (None if section_of(case).expose == "direct" else front_of(case))
    assert deployment.service in {item.address for item in of_kind(deployment, Service)}


def front_of(case: Path) -> str:
    """The address of the gateway's service."""
    return "unit:deployctl-gateway.service" if facts_of(case).systemd else "process:gateway"


def section_of(case: Path) -> OllamaSpec | VllmSpec:
    return spec_of(case).for_runtime(case.parent.name)


def paths(resource: AnyResource) -> list[str]:
    """The paths that a resource writes, and whose folder must be there before."""
    if isinstance(resource, ApiKey):
        return [resource.path, resource.config]
    if isinstance(resource, Process):
        return [resource.conf, resource.program, resource.log, resource.journal]
    return [resource.path] if isinstance(resource, Content | Directory | Release | Venv | ModelFiles) else []


@every
def test_every_folder_exists_before_what_is_put_into_it(case: Path) -> None:
    home = facts_of(case).home
    there = {*SYSTEM_DIRECTORIES, f"{home}/.local/state", f"{home}/.local/share", f"{home}/.config"}
    for resource in deployment_of(case).resources:
        for path in paths(resource):
            assert str(PurePosixPath(path).parent) in there, f"{resource.address}: {path}"
        if isinstance(resource, Directory):
            there.add(resource.path)


@every
def test_what_a_unit_may_write_exists_before_it_starts(case: Path) -> None:
    """systemd refuses to start a unit whose ReadWritePaths or WorkingDirectory is missing."""
    there: set[str] = set()
    for resource in deployment_of(case).resources:
        if isinstance(resource, UnitFile):
            needed = re.findall(r"^(?:ReadWritePaths|WorkingDirectory|ReadOnlyPaths)=(.*)$", resource.content, re.M)
            assert {path.strip('"') for path in needed} <= there
        if isinstance(resource, Process):
            directory = re.search(r"^directory\s*=\s*(.*)$", made_from(deployment_of(case), resource).content, re.M)
            assert directory is not None
            assert directory[1] in there
        if isinstance(resource, Container):
            made = {*there, *(path for item in deployment_of(case).resources for path in paths(item))}
            assert {mount.source for mount in resource.spec.mounts if mount.type == "bind"} <= made
        if isinstance(resource, Directory):
            there.add(resource.path)


@every
def test_nobody_can_be_reached_from_outside_unless_asked(case: Path) -> None:
    deployment, section = deployment_of(case), section_of(case)
    endpoint, direct = deployment.endpoint, section.expose == "direct"
    assert endpoint.open == (section.bind not in ("127.0.0.1", "localhost", "::1"))
    assert endpoint.exposed == (endpoint.open and direct)
    assert (endpoint.gateway is None) == direct
    assert bool(endpoint.key_file) == (endpoint.exposed and deployment.runtime == "vllm")
    told = any("open on" in text or "no authentication" in text for text in deployment.warnings)
    assert told == endpoint.exposed
    for container in of_kind(deployment, Container):
        assert {port.host_ip for port in container.spec.ports} == {section.bind if direct else "127.0.0.1"}
        assert container.spec.network is None


@every
def test_behind_a_gateway_the_engine_listens_on_loopback_alone(case: Path) -> None:
    deployment, section = deployment_of(case), section_of(case)
    if section.expose == "direct":
        assert not of_kind(deployment, GatewaySite) and not of_kind(deployment, GatewayKeys)
        return
    (site,) = of_kind(deployment, GatewaySite)
    assert deployment.endpoint.probe_url == f"http://127.0.0.1:{engine_port(section)}"
    assert f"reverse_proxy 127.0.0.1:{engine_port(section)} " in site.content
    assert f":{section.port} {{" in site.content
    tls = spec_of(case).gateway.tls
    assert any("without TLS" in text for text in deployment.warnings) == (deployment.endpoint.open and tls == "none")


@every
def test_probes_and_commands_are_shell(case: Path) -> None:
    """However hostile the values: every probe and every shown command is syntactically right, for every sh."""
    deployment = deployment_of(case)
    scripts = [resource.probe() for resource in deployment.resources]
    scripts += [command for resource in deployment.resources if (command := resource.command())]
    script = "\n".join(scripts)
    checked = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def started_from(deployment: Deployment) -> Content:
    """The file that says how an engine is started: a unit, or a program of the supervisor."""
    service = next(item for item in of_kind(deployment, Service) if item.address == deployment.service)
    return made_from(deployment, service)


def made_from(deployment: Deployment, service: Service) -> Content:
    """The file that says how a service is started."""
    files = [item for item in of_kind(deployment, Content) if item.address in service.follows]
    return next(
        item for item in files if item.path.endswith((".service", "/deployctl.conf")) or "/programs/" in item.path
    )


def serve_words(deployment: Deployment) -> list[str]:
    """The command line of vLLM, whatever runs it; for a unit or a program as the file says."""
    containers = of_kind(deployment, Container)
    if containers:
        return list(containers[0].spec.command)
    made = started_from(deployment).content.splitlines()
    line = next(line for line in made if line.startswith(("ExecStart=", "command=")))
    words = [word.replace("%%", "%") for word in shlex.split(line.partition("=")[2])]
    words = [word.replace("$$", "$") for word in words] if line.startswith("ExecStart=") else words
    return words[words.index("serve" if "serve" in words else "--model") + 1 :]


@each_vllm
def test_vllm_knows_every_argument(case: Path) -> None:
    deployment = deployment_of(case)
    version = deployment.summary["version"]
    model, *arguments = serve_words(deployment)
    assert model.startswith("/")
    given = {argument.name: argument.values for argument in vllm_args.parse(arguments, version)}
    assert given["--served-model-name"] == (deployment.endpoint.model,)
    assert "--api-key" not in given
    if deployment.summary["device"] == "cuda":
        assert 0 < float(given["--gpu-memory-utilization"][0]) < 1
    else:
        assert "--enforce-eager" in given
        assert "--gpu-memory-utilization" not in given


@each_vllm
def test_vllm_never_asks_the_hub_and_its_key_stands_in_no_text(case: Path) -> None:
    deployment = deployment_of(case)
    text = "\n".join(item.content for item in of_kind(deployment, Content))
    assert "HF_HUB_OFFLINE" in text
    assert "VLLM_API_KEY" not in text
    assert "--api-key" not in text


@each_vllm
def test_vllm_is_restarted_whatever_it_exits_with(case: Path) -> None:
    deployment = deployment_of(case)
    for container in of_kind(deployment, Container):
        assert container.spec.restart == "unless-stopped"
        assert container.spec.cap_drop == ("ALL",)
    for unit in of_kind(deployment, UnitFile):
        assert "\nRestart=always\n" in unit.content


def sampling_of_modelfile(text: str) -> dict[str, str]:
    return dict(re.findall(r"^PARAMETER (\w+) (.*)$", text, re.M))


@pytest.mark.parametrize("name", ["worked-example", "tuned"])
def test_one_sampling_block_becomes_both(name: str) -> None:
    modelfile = next(
        item for item in of_kind(deployment_of(Path("ollama", name)), Content) if item.path.endswith("Modelfile")
    )
    generation = next(
        item
        for item in of_kind(deployment_of(Path("vllm", name)), Content)
        if item.path.endswith("generation_config.json")
    )
    there, here = sampling_of_modelfile(modelfile.content), json.loads(generation.content)
    same = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p"}
    for theirs, ours in {**same, "repeat_penalty": "repetition_penalty"}.items():
        assert (theirs in there) == (ours in here)
        if theirs in there:
            assert float(there[theirs]) == here[ours]
    assert here["do_sample"] == (here["temperature"] > 0)


@each_ollama
def test_a_model_of_ollama_is_made_from_the_file_that_is_delivered(case: Path) -> None:
    deployment = deployment_of(case)
    (model,) = of_kind(deployment, OllamaModel)
    (files,) = of_kind(deployment, ModelFiles)
    assert (model.gguf, model.sha256) == (f"{files.path}/{files.files[0].path}", files.files[0].sha256)
    modelfile = next(item for item in of_kind(deployment, Content) if item.path == model.modelfile)
    assert modelfile.digest == model.modelfile_sha256
    addresses = [item.address for item in deployment.resources]  # nothing can be made in a server that is not there yet
    assert addresses.index(model.address) > addresses.index(deployment.service)


@each_ollama
def test_ollama_writes_only_where_its_account_may(case: Path) -> None:
    """A store of the vendor's is used only together with the vendor's unit, which runs as the vendor's user."""
    deployment, facts = deployment_of(case), facts_of(case)
    (model,) = of_kind(deployment, OllamaModel)
    ours = {item.path for item in of_kind(deployment, Directory)}
    if facts.vendor_ollama and model.store == facts.vendor_ollama.models:
        assert deployment.service == "unit:ollama.service"
    else:
        assert str(PurePosixPath(model.store).parent) in ours


@every
def test_the_endpoint_is_that_of_the_spec(case: Path) -> None:
    endpoint: Endpoint = deployment_of(case).endpoint
    section, gateway = section_of(case), spec_of(case).gateway
    assert endpoint.url.endswith(f":{section.port}/v1")
    assert endpoint.probe_url.rpartition(":")[2] == str(engine_port(section))
    if endpoint.gateway is None:
        assert endpoint.url == f"{endpoint.probe_url}/v1"
        return
    assert endpoint.url == f"{endpoint.gateway.url}/v1"
    assert endpoint.gateway.connect.rpartition(":")[2] == str(section.port)
    assert endpoint.url.startswith("http:" if gateway.tls == "none" else "https:")
    assert gateway.tls == "none" or not gateway.domains or f"//{gateway.domains[0]}:" in endpoint.url
