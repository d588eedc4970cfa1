"""Ollama: a systemd unit (ours, or a drop-in to the vendor's) or a supervised process, and one model in it."""

from collections.abc import Sequence

from orchestrator.errors import RefusedError
from orchestrator.facts import VendorOllama
from orchestrator.health.endpoint import Endpoint
from orchestrator.resources.files import UnitFile
from orchestrator.resources.ollama_model import OllamaModel
from orchestrator.resources.registry import AnyResource
from orchestrator.resources.release import Release
from orchestrator.resources.unit import Unit
from orchestrator.resources.vendor import VendorEngine
from orchestrator.runtimes.common import (
    Owner,
    accounts,
    base_directories,
    check_ports,
    model_directory,
    model_files,
    require_tools,
    supervised_service,
    systemd_service,
    unique,
)
from orchestrator.runtimes.deployment import (
    Deployment,
    EngineRelease,
    Inputs,
    fingerprint,
)
from orchestrator.runtimes.front import front
from orchestrator.runtimes.gateway import GatewayFor
from orchestrator.spec import OllamaSpec, Sampling, Spec, engine_port, model_for, ollama_model_name

ACCOUNT = "ollama"


def wanted(inputs: Inputs, own_ports: Sequence[int] = ()) -> Deployment:
    """What Ollama needs on this host. Raises RefusedError for a missing prerequisite, UsageError for a bad template."""
    spec, section = inputs.spec, inputs.spec.for_runtime("ollama")
    vendor, way_in = _vendor(inputs, section), front(spec, section)
    owner = Owner(inputs.facts, ACCOUNT)
    _check(inputs, section, vendor, own_ports)
    gateway = GatewayFor(inputs, "ollama", section.name, way_in) if way_in.gateway else None
    home = inputs.layout.deployment_data(section.name)
    store = vendor.models if vendor and vendor.unit else f"{home}/models"
    resources: list[AnyResource] = base_directories(inputs.layout, owner, section.name)
    binary = vendor.binary if vendor else f"{inputs.layout.opt}/ollama/{_release(inputs).label}/bin/ollama"
    if not (vendor and vendor.unit):
        resources += [*accounts(inputs.facts, owner, home), owner.directory(home, mode="750", engine=True, keep=True)]
    resources += gateway.before() if gateway else []
    engine = _used(inputs, section, vendor) if vendor else _install(inputs, owner)
    resources += engine
    resources += model_files(inputs, owner, inputs.model, model_for(spec, "ollama").delivery)
    service = _service(inputs, section, owner, vendor, binary, home, store, engine[-1].address)
    resources += service
    modelfile = owner.file(f"{inputs.layout.deployment_config(section.name)}/Modelfile", _modelfile(inputs))
    resources += [modelfile, _model(inputs, section, owner, vendor, binary, store, modelfile.path, modelfile.digest)]
    resources += gateway.after() if gateway else []
    return Deployment(
        name=section.name,
        runtime="ollama",
        resources=unique(resources),
        service=service[-1].address,
        endpoint=Endpoint(
            runtime="ollama",
            url=way_in.client_url(inputs.facts),
            probe_url=way_in.engine_url,
            gateway=gateway.endpoint if gateway else None,
            open=way_in.open,
            model=ollama_model_name(spec),
            expected_version=None if vendor else _release(inputs).version or None,
        ),
        summary=_summary(inputs, section),
        notes=_notes(section, spec.sampling, vendor),
        warnings=gateway.warnings() if gateway else _warnings(section, way_in.exposed),
    )


def usable_vendor(section: OllamaSpec, vendor: VendorOllama | None) -> VendorOllama | None:
    """The vendor's installation, unless the user asks for a version or an archive of his own."""
    return vendor if section.version is None and section.archive is None else None


def _vendor(inputs: Inputs, section: OllamaSpec) -> VendorOllama | None:
    """What of the vendor's installation is used: its unit, store and account only where systemd is ours to command."""
    vendor = usable_vendor(section, inputs.facts.vendor_ollama)
    if vendor is None or inputs.facts.systemd:
        return vendor
    return vendor.model_copy(update={"unit": "", "active": False})


def parameters(section: OllamaSpec, sampling: Sampling) -> list[tuple[str, object]]:
    """The Modelfile's PARAMETERs: the context, and the shared sampling block in Ollama's words."""
    named = {
        "num_ctx": section.context,
        "num_predict": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "seed": sampling.seed,
    }
    return [(name, value) for name, value in named.items() if value is not None] + [
        ("stop", text) for text in sampling.stop
    ]


def environment(section: OllamaSpec, home: str, store: str) -> list[tuple[str, str]]:
    """The server's environment. ``home`` is empty for a vendor's unit, which has its own."""
    flags = {True: "1", False: "0", None: None}
    named = {
        "HOME": home or None,
        "OLLAMA_HOST": _host(section),
        "OLLAMA_MODELS": store if home else None,
        "OLLAMA_CONTEXT_LENGTH": str(section.context),
        "OLLAMA_NUM_PARALLEL": str(section.num_parallel),
        "OLLAMA_KEEP_ALIVE": section.keep_alive,
        "OLLAMA_FLASH_ATTENTION": flags[section.flash_attention],
        "OLLAMA_KV_CACHE_TYPE": section.kv_cache_type,
        "OLLAMA_MAX_QUEUE": None if section.max_queue is None else str(section.max_queue),
        "OLLAMA_MAX_LOADED_MODELS": None if section.max_loaded_models is None else str(section.max_loaded_models),
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_DEBUG": "1" if section.debug else None,
        **section.env,
    }
    return [(name, value) for name, value in named.items() if value is not None]


def _host(section: OllamaSpec) -> str:
    """Where the server listens, as OLLAMA_HOST has it."""
    bind = section.bind if section.expose == "direct" else "127.0.0.1"
    return f"[{bind}]:{engine_port(section)}" if ":" in bind else f"{bind}:{engine_port(section)}"


def _check(inputs: Inputs, section: OllamaSpec, vendor: VendorOllama | None, own_ports: Sequence[int]) -> None:
    facts = inputs.facts
    if inputs.model.format != "gguf":
        raise RefusedError(
            "Ollama serves GGUF files", host=facts.host, remedy="name one: hf:REPO:QUANT or hf:REPO/FILE.gguf"
        )
    if len(inputs.model.files) > 1:
        raise RefusedError(
            "Ollama cannot import a GGUF that is split into several files",
            host=facts.host,
            remedy="join it with `llama-gguf-split --merge FIRST JOINED` and name the joined file",
        )
    if not vendor:
        unpack = "zstd" if _release(inputs).source.endswith(".zst") else "gzip"
        require_tools(facts, ["curl", "tar", unpack, "sha256sum"], "Ollama's archive")
    require_tools(facts, ["curl", "sha256sum"], "creating models in Ollama")
    taken_over = [section.port] if vendor and vendor.active else []
    check_ports(facts, section.name, front(inputs.spec, section).listening, [*own_ports, *taken_over])


def _release(inputs: Inputs) -> EngineRelease:
    assert inputs.release is not None, "resolved before, unless the vendor's installation is used"
    return inputs.release


def _install(inputs: Inputs, owner: Owner) -> list[AnyResource]:
    release = _release(inputs)
    root = f"{inputs.layout.opt}/ollama"
    local = "://" not in release.source
    return [
        owner.directory(root),
        Release(
            path=f"{root}/{release.label}",
            source=release.source,
            sha256=release.sha256,
            size=release.size,
            binary="bin/ollama",
            mode="push" if local else "auto",
        ),
    ]


def _used(inputs: Inputs, section: OllamaSpec, vendor: VendorOllama) -> list[AnyResource]:
    state = inputs.layout.deployment_state(section.name)
    return [
        VendorEngine(binary=vendor.binary, unit=vendor.unit, mark=f"{state}/vendor", started=f"{state}/started"),
    ]


def _service(
    inputs: Inputs,
    section: OllamaSpec,
    owner: Owner,
    vendor: VendorOllama | None,
    binary: str,
    home: str,
    store: str,
    engine: str,
) -> list[AnyResource]:
    if vendor and vendor.unit:
        return _vendor_unit(inputs, section, engine)
    variables = environment(section, home, store)
    release = inputs.release.sha256 if inputs.release and not vendor else ""
    if not inputs.facts.systemd:
        return supervised_service(inputs, owner, section.name, [binary, "serve"], variables, home, [release], [engine])
    text = inputs.renderer.render(
        "ollama/ollama.service.j2",
        {
            "description": f"Ollama ({section.name}, managed by deployctl)",
            "user": owner.engine[0],
            "group": owner.engine[1],
            "exec": [binary, "serve"],
            "environment": variables,
            "home": home,
            "read_write_paths": [],
            "read_only_paths": [],
            "device": "cuda" if inputs.facts.gpus else "cpu",
        },
    )
    return systemd_service(inputs, section.name, f"deployctl-{section.name}.service", text, [release], [engine])


def _vendor_unit(inputs: Inputs, section: OllamaSpec, engine: str) -> list[AnyResource]:
    """A drop-in beside the vendor's unit, never the vendor's file (DESIGN 5.12)."""
    active, enabled = inputs.vendor_before or (False, False)
    text = inputs.renderer.render("ollama/drop-in.conf.j2", {"environment": environment(section, "", "")})
    folder = "/etc/systemd/system/ollama.service.d"
    root = Owner(inputs.facts, ACCOUNT)
    drop_in = UnitFile(
        path=f"{folder}/deployctl.conf",
        content=text,
        owner="root",
        group="root",
        revive="ollama.service" if active else "",
    )
    unit = Unit(
        name="ollama.service",
        mark=f"{inputs.layout.deployment_state(section.name)}/started",
        fingerprint=fingerprint([text]),
        follows=(engine, drop_in.address),
        vendor=True,
        was_active=active,
        was_enabled=enabled,
    )
    return [root.directory(folder), drop_in, unit]


def _modelfile(inputs: Inputs) -> str:
    section = inputs.spec.for_runtime("ollama")
    return inputs.renderer.render(
        "ollama/Modelfile.j2",
        {
            "from_path": _gguf(inputs),
            "parameters": parameters(section, inputs.spec.sampling),
            "system": inputs.spec.system,
            "template": section.template,
        },
    )


def _gguf(inputs: Inputs) -> str:
    return f"{model_directory(inputs.layout, inputs.model)}/{inputs.model.main_file}"


def _model(
    inputs: Inputs,
    section: OllamaSpec,
    owner: Owner,
    vendor: VendorOllama | None,
    binary: str,
    store: str,
    modelfile: str,
    digest: str,
) -> OllamaModel:
    main = inputs.model.file(inputs.model.main_file)
    assert main is not None and main.sha256 is not None, "a GGUF always has a sha256: the Hub's, or computed"
    account = vendor.user if vendor and vendor.unit else owner.account
    name = ollama_model_name(inputs.spec)  # also in the mark: one that goes must not take another's with it
    return OllamaModel(
        name=name,
        api=front(inputs.spec, section).engine_url,
        binary=binary,
        modelfile=modelfile,
        modelfile_sha256=digest,
        gguf=_gguf(inputs),
        sha256=main.sha256,
        store=store,
        owner=f"{account}:{account}" if account else "",
        mark=f"{inputs.layout.deployment_state(section.name)}/model-{fingerprint([name])[:8]}",
    )


def _summary(inputs: Inputs, section: OllamaSpec) -> dict[str, str]:
    return {
        "model": _title(inputs.spec, inputs.model.quant),
        "context": f"{section.context} x {section.num_parallel}",
        "version": inputs.release.label if inputs.release else "vendor's",
    }


def _title(spec: Spec, quant: str) -> str:
    return f"{model_for(spec, 'ollama').title} {quant}".strip()


def _notes(section: OllamaSpec, sampling: Sampling, vendor: VendorOllama | None) -> tuple[str, ...]:
    total = section.context * section.num_parallel
    notes = [
        f"KV cache for {section.context} x {section.num_parallel} = {total} tokens: "
        "each parallel request has a whole context"
    ]
    if (sampling.temperature, sampling.top_p) != (None, None):
        # openai/openai.go of Ollama, v0.33: what a request does not name is set to 1 before the Modelfile is asked.
        notes.append(
            "on /v1 Ollama takes temperature 1 and top_p 1 where a request names none, whatever the Modelfile says: "
            "let clients name them (its own /api/chat follows the Modelfile)"
        )
    if vendor:
        notes.append(f"the vendor's Ollama at {vendor.binary} is used and left as it is")
    return tuple(notes)


def _warnings(section: OllamaSpec, exposed: bool) -> tuple[str, ...]:
    if not exposed:
        return ()
    return (
        f"Ollama has no authentication: whoever reaches {section.bind}:{section.port} can use and delete its models",
    )
