"""vLLM: a container on the host's Docker Engine, or a virtual environment kept up by a supervisor."""

import json
from collections.abc import Sequence
from typing import Literal

from orchestrator.errors import RefusedError, UsageError
from orchestrator.facts import Gpu
from orchestrator.health.endpoint import Endpoint
from orchestrator.resources.container import Container
from orchestrator.resources.converted import Converted
from orchestrator.resources.files import ApiKey, File
from orchestrator.resources.image import Image
from orchestrator.resources.registry import AnyResource
from orchestrator.resources.venv import Venv, recipe
from orchestrator.runtimes import gpu as gpus
from orchestrator.runtimes import vllm_command as command
from orchestrator.runtimes.common import (
    Owner,
    accounts,
    base_directories,
    check_ports,
    docker_bytes,
    model_directory,
    model_files,
    python_for,
    require_tools,
    supervised_service,
    systemd_service,
    unique,
)
from orchestrator.runtimes.confinement import confinement, identity, user_of
from orchestrator.runtimes.conversion import conversion
from orchestrator.runtimes.deployment import Deployment, Inputs, fingerprint
from orchestrator.runtimes.front import front
from orchestrator.runtimes.gateway import GatewayFor
from orchestrator.runtimes.vllm_args import validate
from orchestrator.spec import VllmSpec, model_for, served_name
from orchestrator.spec.catalogue import VllmBuild, choose_vllm, version_of_image
from orchestrator.templating.container import ContainerSpec, docker_run_line, parse_container

ACCOUNT = "vllm"
INSIDE_PORT = 8000
"""The port inside the container; only the published one, on the host's ``bind``, can be reached."""

DEFAULT_SHM_BYTES = 1 << 30
"""vLLM's workers need 160 MiB and more; Docker's 64 MiB default fails (reference/vllm.md sections 2 and 9)."""
MANY_SHM_BYTES = 16 << 30
"""For several GPUs, as vLLM's documents have it; it counts only as far as it is used, and spares the host's own IPC."""


def wanted(inputs: Inputs, own_ports: Sequence[int] = ()) -> Deployment:
    """What vLLM needs on this host.

    Raises RefusedError for a missing prerequisite, UsageError for an argument or template that is wrong.
    """
    return _Wanted(inputs, own_ports).deployment()


class _Wanted:
    """One decision after the other, each from the inputs and those before it."""

    def __init__(self, inputs: Inputs, own_ports: Sequence[int]) -> None:
        self.inputs = inputs
        self.spec, self.facts, self.layout = inputs.spec, inputs.facts, inputs.layout
        self.section: VllmSpec = inputs.spec.for_runtime("vllm")
        self.owner = Owner(inputs.facts, ACCOUNT)
        self.device = self._device()
        self.gpus: tuple[Gpu, ...] = (
            gpus.chosen(self.facts.gpus, self.section.gpus, self.facts.host) if self.device == "cuda" else ()
        )
        self.build = self._build()
        self.container = self.section.runner == "container"
        self.front = front(self.spec, self.section, inputs.copy_number)
        self.gateway = GatewayFor(inputs, "vllm", self.section.name, self.front) if self.front.gateway else None
        self.config = self.layout.deployment_config(self.section.name)
        self.data = self.layout.deployment_data(self.section.name)
        self.share = gpus.share(self.section.gpu_mem, self.gpus, inputs.previous)
        self.converts = self.device == "cpu" and inputs.model.format == "gguf"
        self._check(own_ports)

    def _device(self) -> Literal["cuda", "cpu"]:
        if self.section.device == "auto" and not self.facts.gpu_problem:
            return "cuda" if self.facts.gpus else "cpu"
        if self.section.device != "cpu" and not self.facts.gpus:  # also a driver that fails: a CPU is no stand-in
            raise RefusedError(
                "the host shows no NVIDIA GPU",
                host=self.facts.host,
                why=self.facts.gpu_problem or "nvidia-smi is not installed",
                remedy="install or repair the driver, or serve on the CPU with --device cpu",
            )
        return "cpu" if self.section.device == "cpu" else "cuda"

    def _build(self) -> VllmBuild:
        version = self.section.version or (version_of_image(self.section.image) if self.section.image else None)
        weakest = min((gpu.compute_capability for gpu in self.gpus if gpu.compute_capability), default=None)
        driver = tuple(int(part) for part in self.gpus[0].driver.split(".") if part.isdigit()) if self.gpus else None
        return choose_vllm(
            model_format=self.inputs.model.format,
            device=self.device,
            driver=driver,
            compute_capability=weakest,
            arch=self.facts.arch,
            version=version,
            image=self.section.image if self.section.runner == "container" else None,
            runner=self.section.runner,
        )

    def _check(self, own_ports: Sequence[int]) -> None:
        host = self.facts.host
        check_ports(self.facts, self.section.name, self.front.listening, own_ports)
        if self.container and not self.facts.docker:
            raise RefusedError(
                "the host has no usable Docker Engine",
                host=host,
                why=self.facts.docker_problem,
                remedy="apt-get install docker.io and start it, or run without Docker: --runner venv",
            )
        if not self.container and self.device == "cpu" and "libnuma.so.1" in self.facts.lacks:
            raise RefusedError(
                "the host lacks libnuma.so.1",
                host=host,
                why="vLLM's CPU build cannot be loaded without it",
                remedy="apt-get install libnuma1 (elsewhere: numactl-libs)",
            )
        if self.inputs.model.format == "gguf" and not self.converts and self.inputs.base is None:
            raise RefusedError(
                "vLLM needs tokenizer and config beside a GGUF",
                host=host,
                remedy="name the repository or folder of the original model: --base Qwen/Qwen2.5-14B-Instruct",
            )
        if self.converts and len(self.inputs.model.files) > 1:
            raise RefusedError(
                "a GGUF in several files cannot be dequantized for the CPU",
                host=host,
                remedy="name the repository of the original weights (hf:OWNER/REPO) instead",
            )
        if any(file.url for file in self.inputs.model.files):
            require_tools(self.facts, ["curl", "sha256sum"], "fetching the model")
        validate(self.section.extra_args, self.build.version)

    def deployment(self) -> Deployment:
        """The resources in order, and where the endpoint will be."""
        resources: list[AnyResource] = base_directories(self.layout, self.owner, self.section.name)
        resources += self.gateway.before() if self.gateway else []
        engine = self._engine()
        resources += [*engine, *self._model()]
        generation = self._generation_config()
        resources += [self.owner.directory(f"{self.config}/generation"), generation]
        key = self._key()
        resources += [key] if key else []
        service = self._service(engine[-1], generation, key)
        resources += service
        if self.gateway:
            asked = (self._first_question(), self._container_name) if self.container else ()
            resources += self.gateway.after(*asked)
        return Deployment(
            name=self.section.name,
            runtime="vllm",
            resources=unique(resources),
            service=service[-1].address,
            endpoint=self._endpoint(key),
            summary=self._summary(),
            notes=self._notes(),
            warnings=self._warnings(),
        )

    # What is installed

    def _engine(self) -> list[AnyResource]:
        cache = self.owner.directory(self.data, mode="750", engine=not self.container)
        if self.container:
            uid, gid = user_of(self.facts)
            cache = cache.model_copy(update={"contents": True, "owner": str(uid), "group": str(gid)})
            return [cache, Image(reference=self.image, archive=self.section.image_archive or "")]
        above = [*accounts(self.facts, self.owner, self.data), cache, self.owner.directory(f"{self.layout.opt}/vllm")]
        return [*above, self.owner.directory(f"{self.data}/scratch", mode="700", engine=True), self._venv()]

    def _venv(self) -> Venv:
        """The virtual environment, named by its recipe: a new recipe never overwrites what may be returned to."""
        least = (3, 11) if self.device == "cpu" else (3, 10)  # what the wheels and the locked list are made for
        python = python_for(self.facts, least, self.section.python, (3, 13))
        steps = tuple(
            (*step, *self.section.pip_args) if step[0] == "install" else step for step in self.build.pip_steps
        )
        name = f"{self.build.version}-{self.device}-{recipe(python, steps)[:8]}"
        compiled = self.owner.account is not None
        path = f"{self.layout.opt}/vllm/{name}"
        return Venv(path=path, python=python, steps=steps, check=self.build.check, compiled=compiled)

    @property
    def image(self) -> str:
        """The Docker image: the user's, or the catalogue's."""
        return self.section.image or self.build.image

    # What is served

    def _model(self) -> list[AnyResource]:
        mode = model_for(self.spec, "vllm").delivery
        resources = model_files(self.inputs, self.owner, self.inputs.model, mode)
        if self.inputs.base is not None and self.inputs.model.format == "gguf" and not self.converts:
            resources += model_files(self.inputs, self.owner, self.inputs.base, mode)
        if self.converts:
            resources.append(self._converted())
        return resources

    @property
    def served_path(self) -> str:
        """What vLLM loads, on the host: a GGUF file, or a folder of safetensors."""
        folder = model_directory(self.layout, self.inputs.model)
        if self.converts:
            return self._converted().path
        return f"{folder}/{self.inputs.model.main_file}" if self.inputs.model.format == "gguf" else folder

    def _converted(self) -> Converted:
        folder = model_directory(self.layout, self.inputs.model)
        main = self.inputs.model.file(self.inputs.model.main_file)
        assert main is not None and main.sha256 is not None, "a GGUF always has a sha256: the Hub's, or computed"
        where = {"image": self.image} if self.container else {"venv": self._venv().path}
        return conversion(folder, main.path, main.sha256, self.facts, **where)

    def _generation_config(self) -> File:
        config = command.generation_config(self.spec, self.inputs.generation_config)
        text = self.inputs.renderer.render("vllm/generation_config.json.j2", {"config": config})
        return self.owner.file(f"{self.config}/generation/generation_config.json", text)

    def _key(self) -> ApiKey | None:
        """vLLM's own key, where it can be reached from outside without a gateway (DESIGN 5.20)."""
        if not self.front.exposed:
            return None
        user, group = self.owner.files if self.container else self.owner.engine
        mode = "640" if self.container and self.facts.root else "600"  # the container's user is of root's group
        path = f"{self.config}/api-key"
        return ApiKey(path=path, config=f"{path}.yaml", owner=user, group=group, mode=mode)

    # What runs

    def _service(self, engine: AnyResource, generation: File, key: ApiKey | None) -> list[AnyResource]:
        follows = [generation.address, *([key.address] if key else [])]
        made_from: list[object] = [generation.content, self.inputs.model.files[0].sha256, self.build.version]
        if isinstance(engine, Venv):  # an image that changes has another name, which is in the container's description
            follows.append(engine.address)
            made_from.append(engine.recipe)
        if self.container:
            return self._container(key, made_from, follows)
        paths = command.Paths(
            model=self.served_path,
            base=self._base_path(),
            generation=f"{self.config}/generation",
            key=key.config if key else None,
            cache=self.data,
        )
        serve = self._arguments(paths, self.front.engine_bind, self.front.engine_port)
        environment = command.environment(self.section, self.device, paths, self.facts.memory_total)
        environment += command.temporary(self.data)
        words = [*(part.replace("@venv", self._venv().path) for part in self.build.serve), paths.model, *serve]
        if not self.facts.systemd:
            return supervised_service(
                self.inputs, self.owner, self.section.name, words, environment, self.data, made_from, follows
            )
        text = self.inputs.renderer.render(
            "vllm/vllm.service.j2",
            {
                "description": f"vLLM ({self.section.name}, managed by deployctl)",
                "user": self.owner.engine[0],
                "group": self.owner.engine[1],
                "exec": words,
                "environment": environment,
                "environment_file": None,
                "working_directory": self.data,
                "read_write_paths": [self.data],
                "device": self.device,
            },
        )
        unit = f"deployctl-{self.section.name}.service"
        return systemd_service(self.inputs, self.section.name, unit, text, made_from, follows)

    def _base_path(self) -> str | None:
        if self.inputs.model.format != "gguf" or self.converts or self.inputs.base is None:
            return None
        return model_directory(self.layout, self.inputs.base)

    def _arguments(self, paths: command.Paths, bind: str, port: int) -> list[str]:
        return command.serve_arguments(
            self.spec, self.device, paths, host=bind, port=port, utilization=self.share.utilization
        )

    def _container(self, key: ApiKey | None, made_from: Sequence[object], follows: list[str]) -> list[AnyResource]:
        spec, text = self.container_spec(key)
        described = self.owner.file(f"{self.config}/container.yaml", text)
        run_line = self.owner.file(f"{self.config}/docker-run.sh", f"#!/bin/sh\n{docker_run_line(spec)}\n")
        # It was made from that description by its fingerprint; it follows what the engine itself reads.
        running = Container(spec=spec, fingerprint=fingerprint([text, *made_from]), follows=tuple(follows))
        return [described, run_line, running]

    def container_spec(self, key: ApiKey | None) -> tuple[ContainerSpec, str]:
        """The container, through the template that the user may override, and that template's text."""
        text = self.inputs.renderer.render("vllm/container.yaml.j2", self._container_context(key))
        spec = parse_container(text)
        if spec.name not in (self.section.name, self._container_name):
            raise UsageError(f"the template of the container renames it to {spec.name}", remedy="keep `name` as given")
        return spec, text

    @property
    def _container_name(self) -> str:
        return container_name(self.section.name, self.inputs.copy_number)

    def _container_context(self, key: ApiKey | None) -> dict[str, object]:
        section, folder = self.section, model_directory(self.layout, self.inputs.model)
        paths = command.Paths(
            model=f"/model{self.served_path.removeprefix(folder)}",
            base="/base" if self._base_path() else None,
            generation="/config/generation",
            key="/config/api-key.yaml" if key else None,
            cache="/cache",
        )
        mounts = [(folder, "/model", True), (f"{self.config}/generation", "/config/generation", True)]
        mounts += [(self._base_path() or "", "/base", True)] if paths.base else []
        mounts += [(key.config, "/config/api-key.yaml", True)] if key else []
        mounts += [(self.data, "/cache", False)]
        environment = command.environment(section, self.device, paths, self.facts.memory_total)
        shm = MANY_SHM_BYTES if section.tensor_parallel > 1 else DEFAULT_SHM_BYTES
        return {
            "name": self._container_name,
            "image": self.image,
            "entrypoint": None,
            "command": [paths.model, *self._arguments(paths, "0.0.0.0", INSIDE_PORT)],  # noqa: S104  (in its own network)
            "environment": list({**identity("/cache"), **dict(environment)}.items()),
            "mounts": [{"source": source, "target": target, "read_only": ro} for source, target, ro in mounts],
            "ports": [
                {"host_ip": self._bind_address(), "host_port": self.front.engine_port, "container_port": INSIDE_PORT}
            ],
            "gpus": (section.gpus if section.gpus == "all" else list(section.gpus)) if self.device == "cuda" else None,
            "ipc": None,
            "shm_size_bytes": (docker_bytes(section.shm_size) if section.shm_size else None) or shm,
            "memory_bytes": (docker_bytes(section.memory) if section.memory else None),
            "log_driver": "local",
            "restart": "unless-stopped",
            **confinement(self.facts, self.device),
            "labels": [("deployctl.deployment", section.name)],
            "stop_timeout_s": 30,
            "network": None,
        }

    def _bind_address(self) -> str:
        return "127.0.0.1" if self.front.engine_bind == "localhost" else self.front.engine_bind

    def _first_question(self) -> str:
        """What an engine must answer before the gateway leads to it."""
        message = {"role": "user", "content": "Hello!"}
        return json.dumps({"model": served_name(self.spec), "max_tokens": 4, "messages": [message]})

    # What is said of it

    def _endpoint(self, key: ApiKey | None) -> Endpoint:
        return Endpoint(
            runtime="vllm",
            url=self.front.client_url(self.facts),
            probe_url=self.front.engine_url,
            gateway=self.gateway.endpoint if self.gateway else None,
            open=self.front.open,
            model=served_name(self.spec),
            key_file=key.path if key else None,
            expected_version=self.build.version,
        )

    def _summary(self) -> dict[str, str]:
        return {
            "model": f"{model_for(self.spec, 'vllm').title} {self.inputs.model.quant}".strip(),
            "context": str(command.max_model_len(self.spec)),
            "version": self.build.version,
            "device": self.device,
            "runner": self.section.runner,
            **({"copy": str(self.inputs.copy_number)} if self.inputs.copy_number else {}),
            **gpus.remembered(self.section.gpu_mem, self.share),
        }

    def _notes(self) -> tuple[str, ...]:
        notes = [self.build.reason, self.share.explanation]
        if self.converts:
            notes.append("the GGUF is dequantized once to bf16 safetensors: vLLM's GGUF kernels need CUDA")
        if self.device == "cpu":
            notes.append("on a CPU vLLM runs eager: compiled bf16 answers nonsense there")
        return tuple(note for note in notes if note)

    def _warnings(self) -> tuple[str, ...]:
        warnings = [*command.unsaid(self.spec.sampling), *(self.gateway.warnings() if self.gateway else ())]
        if self.front.exposed:
            warnings.append(
                f"vLLM is open on {self.section.bind}:{self.section.port}: its key guards /v1 but not /invocations, "
                "/tokenize, /metrics and others"
            )
        return tuple(warnings)


def container_name(name: str, copy_number: int) -> str:
    """What a deployment's container is called: two names take turns where one replaces the other without a gap."""
    return f"deployctl-{name}{'-b' if copy_number else ''}"
