"""Results beside the generations of a deployment, on its host: one for each generation that was measured."""

import base64
from collections.abc import Sequence

from pydantic import ValidationError

from orchestrator.bench.result import Measurement
from orchestrator.errors import DeployError
from orchestrator.hosts.base import Host, quote


def read_results(host: Host, state: str) -> tuple[Measurement, ...]:
    """The results that are kept, by generation, the oldest first: one round trip. Raises DeployError."""
    folder = quote(f"{state}/bench")
    script = f'for f in {folder}/*.json; do [ -f "$f" ] && base64 < "$f" | tr -d \'\\n\' && echo; done; exit 0'
    result = host.run(script)
    if not result:
        raise DeployError("cannot read the results", host=host.name, why=result.tail())
    found = []
    for line in result.stdout.splitlines():
        try:
            found.append(Measurement.model_validate_json(base64.b64decode(line)))
        except (ValidationError, ValueError):
            continue  # of another version: nothing can be compared with it
    return tuple(sorted(found, key=lambda item: item.generation or 0))


def write_result(host: Host, state: str, measured: Measurement) -> None:
    """Keep a result, whole or not at all, in place of an earlier one of its generation. Raises DeployError.

    Those of generations that are no longer kept go.
    """
    assert measured.generation is not None, "only deployments have a place for results"
    data = base64.encodebytes(measured.model_dump_json(indent=1).encode()).decode()
    folder, name = f"{state}/bench", f"{measured.generation:06}.json"
    target = quote(f"{folder}/{name}")
    script = (
        f"set -e; umask 022; mkdir -p -- {quote(folder)}\n"
        f"base64 -d > {target}.part <<'DEPLOYCTL_END'\n{data}DEPLOYCTL_END\n"
        f"sync {target}.part 2>/dev/null || true; mv -fT {target}.part {target}\n"
        f"cd {quote(folder)}; for f in *.json; do\n"
        f'  [ "$f" = {name} ] || [ -f {quote(f"{state}/generations")}/"$f" ] || rm -f -- "$f"\ndone\n'
    )
    result = host.run(script)
    if not result:
        raise DeployError("cannot keep the result", host=host.name, why=result.tail(), remedy="use --sudo")


def before(results: Sequence[Measurement], now: Measurement) -> Measurement | None:
    """The result of the newest generation before this one that was measured with the same requests."""
    earlier = (item for item in results if (item.generation or 0) < (now.generation or 0) and item.load.like(now.load))
    return max(earlier, key=lambda item: item.generation or 0, default=None)
