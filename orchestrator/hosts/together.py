"""Several questions to a host in one round trip."""

import secrets
from collections.abc import Sequence

from orchestrator.hosts.base import UNKNOWN, Host, Result


def together(host: Host, scripts: Sequence[str], *, timeout: float = 60.0) -> list[Result]:
    """Run scripts one after the other, each in a shell of its own; what each printed, on both streams in order.

    One that is not reached, since the connection or the time was lost, has the exit status UNKNOWN.
    """
    mark = f"@@{secrets.token_hex(8)}"  # unguessable, so nothing that is printed can pass for a boundary
    result = host.run(
        "".join(f"( {script}\n) 2>&1\nprintf '\\n{mark}%s\\n' $?\n" for script in scripts), timeout=timeout
    )
    parts = result.stdout.split(f"\n{mark}")
    found, said = [], parts[0]
    for part in parts[1:]:
        exited, _, following = part.partition("\n")
        found.append(Result(int(exited), said))
        said = following
    lost = Result(UNKNOWN if result else result.exited, stderr=result.stderr)
    return [*found, *[lost] * (len(scripts) - len(found))]
