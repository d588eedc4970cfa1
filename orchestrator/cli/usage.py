"""How an endpoint is called, and what to type next: what `up` ends with, ready to paste."""

import json
from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.health.endpoint import Endpoint
    from orchestrator.hosts.secret import Secret
    from orchestrator.planning.plan import Plan


def usage(plan: "Plan", scope: str, first_key: "Secret | None") -> list[str]:
    """The lines. ``scope`` is the option that finds the deployment again; ``first_key`` one that was just made."""
    name, endpoint = plan.deployment.name, plan.deployment.endpoint
    where = scope if plan.host == "local" else f" --host {plan.host}{scope}"
    lines = ["", f"  endpoint  {endpoint.url}", f"  model     {endpoint.model}"]
    if first_key is not None:
        again = f"`deployctl keys show {name}{where}` shows it again"
        lines.append(f"  key       {first_key.reveal()}  ({again})")
    if plan.host != "local" and not endpoint.open:
        port = endpoint.url.removesuffix("/v1").rpartition(":")[2]
        lines.append(f"  it listens on {plan.host} only; from here: ssh -N -L {port}:127.0.0.1:{port} {plan.host}")
    if endpoint.gateway is not None and endpoint.gateway.tls == "internal":
        lines.append(f"  clients must trust its authority: deployctl keys ca{where} > root.crt")
    verbs = ("status", f"logs {name}", f"down {name}")
    return [*lines, *_curl(endpoint, f"{name}{where}"), "  next", *(f"    deployctl {verb}{where}" for verb in verbs)]


def _curl(endpoint: "Endpoint", deployment: str) -> list[str]:
    """One request, whose key is read when it is made, so that it stands in no history."""
    message = {"role": "user", "content": "Hello!"}
    body = quote(json.dumps({"model": endpoint.model, "max_tokens": 64, "messages": [message]}, ensure_ascii=False))
    words = [f"  curl {endpoint.url}/chat/completions -H 'Content-Type: application/json'"]
    if endpoint.gateway is not None:
        words.append(f'    -H "Authorization: Bearer $(deployctl keys show {deployment})"')
    elif endpoint.key_file:
        words.append(f'    -H "Authorization: Bearer $(sudo cat {quote(endpoint.key_file)})"')
    if endpoint.gateway is not None and endpoint.gateway.tls == "internal":
        words.append("    --cacert root.crt")
    words.append(f"    -d {body}")
    return [f"{word} \\" for word in words[:-1]] + words[-1:]
