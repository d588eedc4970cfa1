"""Who gets in at what is deployed already."""

from orchestrator.doctor.finding import Finding, fail, ok, warn
from orchestrator.health.endpoint import Endpoint
from orchestrator.health.entrance import Seen


def entrance_findings(name: str, endpoint: Endpoint, seen: Seen | None) -> tuple[Finding, ...]:
    """What the ports of a deployment answer to somebody without a right key; ``seen`` is None where all may come in."""
    subject, runtime = f"access to {name}", endpoint.runtime
    if seen is None:
        what = "open: other machines reach the engine itself, without the gateway (--expose direct)"
        return (warn(subject, what, f"deployctl up {runtime} --expose gateway"),)
    if endpoint.gateway and not seen.without_key and not seen.leaks:
        return (warn(subject, f"the gateway does not answer at {endpoint.gateway.url}", "deployctl status says more"),)
    if faults := seen.faults(endpoint):
        remedy = f"see what listens there (ss -ltnp); deployctl up {runtime} renews the gateway's part"
        return tuple(fail(subject, fault, remedy) for fault in faults)
    ports = " and ".join(str(port) for port in sorted(endpoint.ports))
    return (ok(subject, f"nobody gets in without a key (port{'s' * (len(endpoint.ports) > 1)} {ports})"),)
