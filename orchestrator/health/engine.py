"""How an engine does at the moment, in its own words: asked by one script on its host, read here."""

import json
import re
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from orchestrator.health.endpoint import Endpoint
from orchestrator.health.taken import Taken, of_ps
from orchestrator.hosts.base import quote

_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_SCRIPT = files(__package__).joinpath("engine.sh").read_text(encoding="utf-8")


class Load(BaseModel):
    """What an engine has to do: as vLLM tells, or as the gateway counts, which knows of ``running`` only. None where
    nobody tells.

    ``kv_cache_percent`` is how full the KV cache is, ``concurrency`` how many requests of full length it holds, and
    ``tokens_per_second`` what is generated now, over a quarter of a second.
    """

    model_config = ConfigDict(frozen=True)

    running: int | None = None
    waiting: int | None = None
    kv_cache_percent: float | None = None
    tokens_per_second: float | None = None
    concurrency: float | None = None


class Engine(BaseModel):
    """One look at it. ``health`` is the HTTP status of its cheapest question, 0 where nothing answers.

    ``log`` is only there where it does not serve, or not from a GPU that it was meant for.
    """

    model_config = ConfigDict(frozen=True)

    health: int = 0
    loaded: Taken | None = None
    load: Load | None = None
    log: str = ""


def script(endpoint: Endpoint, log_script: str, *, meant_for_gpu: bool) -> str:
    """Ask on the host; ``log_script`` prints what is known of a failure, the log last."""
    settings = {
        "base": endpoint.probe_url,
        "runtime": endpoint.runtime,
        "meant": "yes" if meant_for_gpu else "no",
        "control": endpoint.gateway.control if endpoint.gateway else "",
    }
    given = "".join(f"{name}={quote(value)}\n" for name, value in settings.items())
    return f"{given}said_of_it() {{ (\n{log_script}\n)\n}}\n{_SCRIPT}"


def read(output: str, endpoint: Endpoint) -> Engine:
    """What the script printed."""
    answers, _, log = output.partition("\nlog\n")
    found: dict[str, list[str]] = {}
    for line in answers.splitlines():
        name, _, rest = line.partition(" ")
        found.setdefault(name, []).append(rest)
    status = found.get("health", [""])[0]
    return Engine(
        health=int(status) if status.isdigit() else 0,
        loaded=of_ps(found["ps"][0], endpoint.model) if "ps" in found else None,
        load=_load(found["metric"]) if "metric" in found else _busy(found.get("busy", []), endpoint),
        log=log,
    )


def _load(lines: list[str]) -> Load:
    """Figures of all of its engines: ``SECONDS METRIC{LABELS} VALUE`` lines of one moment, or of two."""
    moments: dict[float, dict[str, list[float]]] = {}
    concurrency = None
    for line in lines:
        at, value = _number(line.partition(" ")[0]), _number(line.rpartition(" ")[2])
        name = re.split(r"[{ ]", line.partition(" ")[2], maxsplit=1)[0].removeprefix("vllm:")
        if at is None or value is None:
            continue
        moments.setdefault(at, {}).setdefault(name, []).append(value)
        if name == "cache_config_info":
            concurrency = _number(dict(_LABEL.findall(line)).get("kv_cache_max_concurrency", ""))
    if not moments:
        return Load()
    last = moments[max(moments)]
    running, waiting = last.get("num_requests_running"), last.get("num_requests_waiting")
    used = last.get("kv_cache_usage_perc")
    return Load(
        running=int(sum(running)) if running else None,
        waiting=int(sum(waiting)) if waiting else None,
        kv_cache_percent=round(100 * max(used), 1) if used else None,
        tokens_per_second=_rate(moments),
        concurrency=concurrency,
    )


def _busy(looks: list[str], endpoint: Endpoint) -> Load | None:
    """The fewest requests that the gateway had under way to the engine at two moments, by Caddy's own count.

    https://caddyserver.com/docs/api#get-reverse-proxyupstreams
    """
    place = endpoint.probe_url.rpartition("/")[2]
    counts = []
    for look in looks:
        try:
            counts.append(sum(int(item["num_requests"]) for item in json.loads(look) if item["address"] == place))
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
    return Load(running=min(counts)) if counts else None


def _rate(moments: dict[float, dict[str, list[float]]]) -> float | None:
    """Tokens a second between the two moments; 0 where it had nothing to do, and was asked once."""
    name = "generation_tokens_total"
    counted = [(at, sum(seen[name])) for at, seen in sorted(moments.items()) if name in seen]
    if len(counted) > 1:
        (began, before), (ended, after) = counted[0], counted[-1]
        return round(max(0.0, after - before) / (ended - began), 1)
    idle = any(not sum(seen.get("num_requests_running", [1])) for seen in moments.values())
    return 0.0 if counted and idle else None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < 1e15 else None  # neither NaN nor infinite
