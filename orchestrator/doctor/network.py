"""Ports that are wanted, and places that are downloaded from."""

from urllib.parse import urlsplit

from orchestrator.doctor.finding import Finding, ok, warn
from orchestrator.doctor.wanted import Wanted
from orchestrator.facts.examine import Examination, Source
from orchestrator.planning.manifest import Manifest, read_manifests

_BY_CURL = {
    5: ("the proxy's name cannot be resolved", "correct the proxy in the host's environment"),
    6: ("its name cannot be resolved", "correct /etc/resolv.conf on the host"),
    7: ("nothing answers there", "a firewall, or a proxy that is not set in the host's environment (https_proxy)"),
    28: ("no answer within 10 s", "a firewall, or a proxy that is not set in the host's environment (https_proxy)"),
    35: ("no TLS connection comes about", "a proxy in between, or a clock that is wrong"),
    60: ("its certificate is not trusted", "add the CA of your network to the host's ca-certificates"),
}


def port_findings(seen: Examination, wanted: Wanted) -> list[Finding]:
    """Whether each runtime's port is free, or our own."""
    manifests = {manifest.name: manifest for manifest in read_manifests(seen.facts)[0]}
    return [_port(seen, wanted, runtime, manifests) for runtime in wanted.ports()]


def _port(seen: Examination, wanted: Wanted, runtime: str, manifests: dict[str, Manifest]) -> Finding:
    facts = seen.facts
    bind, port = wanted.ports()[runtime]
    title = {"ollama": "Ollama", "vllm": "vLLM"}[runtime]
    if not facts.listening("127.0.0.1" if bind == "localhost" else bind, port):
        return ok("ports", f"{port} is free, for {title}")
    mine = [item.name for item in manifests.values() if port in item.endpoint.ports]
    if mine:
        return ok("ports", f"{port} is the deployment {mine[0]}'s")
    holder = next((item for item in seen.holders if item.port == port), None)
    if runtime == "ollama" and facts.vendor_ollama is not None and facts.vendor_ollama.active:
        return ok("ports", f"{port} is the vendor's Ollama's, which will be used")
    by = f"{holder.name} (pid {holder.pid})" if holder else "another program"
    return Finding(
        level=wanted.lack,
        subject="ports",
        what=f"{port} is taken by {by}, and {title} is to listen there",
        remedy=f"stop it, or choose another: deployctl up {runtime} --port PORT",
    )


def source_findings(seen: Examination, wanted: Wanted) -> list[Finding]:
    """Whether the host can download by itself, through its own names, proxies and certificates."""
    answers = {item.name: item for item in seen.sources}
    return [_source(answers[name], url, seen, wanted) for name, url in wanted.sources().items() if name in answers]


def _source(item: Source, url: str, seen: Examination, wanted: Wanted) -> Finding:
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    proxies = [proxy for proxy in seen.proxies if not proxy.lower().startswith("no_proxy=")]
    through = f", through {', '.join(proxies)}" if proxies else ""
    if 200 <= item.status < 500 and item.status not in (403, 407):
        return ok(item.name, f"{place} answers the host{through}")
    if item.status:
        why, remedy = f"it answers {item.status}", "a proxy or a filter in between; name a mirror"
    else:
        why, remedy = _BY_CURL.get(item.exited, (item.error or f"curl exits {item.exited}", "try it there with curl"))
    what = f"{place} cannot be reached from the host{through}: {why}"
    if item.name == "ollama":
        return warn("ollama", what, f"{remedy}; or push: --archive FILE, --delivery push")
    return _hub(what, remedy, wanted)


def _hub(what: str, remedy: str, wanted: Wanted) -> Finding:
    delivery = wanted.spec.model.delivery
    if delivery == "push":
        return ok("hub", f"{what}; models are pushed")
    if wanted.reached_from_here and delivery == "auto":
        return warn("hub", f"{what}; it answers this machine, so models are pushed from here", remedy)
    elsewhere = wanted.reached_from_here is False and not wanted.local
    here = "; nor from this machine" if elsewhere else ""
    advice = f"{remedy}; or name a mirror (HF_ENDPOINT, hub.endpoint), or a model of your own"
    level = wanted.lack if delivery == "fetch" or wanted.reached_from_here is False else "warn"
    return Finding(level=level, subject="hub", what=f"{what}{here}", remedy=advice)
