"""Several questions to a host in one round trip."""

import secrets
from collections.abc import Sequence

from orchestrator.hosts.base import UNKNOWN, Host, Result

# Each stage has its script answered while those before it do the same, then hands on what they said, then says its own:
# all run at once, the answers come in order, and no file is needed for it, since a disk may be full.
_STAGE = """\
stage() {
  said=$("$1" </dev/null; printf '\\n%s%s\\n' "$mark" "$?")
  cat; printf '%s\\n' "$said"
}
"""
_PART = """\
part{number}() {{ timeout -k 1 {limit:.3f} sh <<'{end}'
{{ :
{script}

}} </dev/null 2>&1
{end}
}}
"""


def together(host: Host, scripts: Sequence[str], *, timeout: float = 60.0) -> list[Result]:
    """Run scripts one after the other, each in a shell of its own; what each printed, on both streams in order.

    One that is not reached, since the connection or the time was lost, has the exit status UNKNOWN.
    """
    mark = _mark()
    whole = "".join(f"( {script}\n) 2>&1\nprintf '\\n{mark}%s\\n' $?\n" for script in scripts)
    return _answers(host.run(whole, timeout=timeout), mark, len(scripts))


def at_once(host: Host, scripts: Sequence[tuple[str, float]]) -> list[Result]:
    """Run scripts beside each other, each in a shell of its own and for its time in seconds; what each printed.

    One that ran out of time has the exit status 124 (or 137), and UNKNOWN all when the connection was lost.
    """
    mark = _mark()
    parts = "".join(
        _PART.format(number=number, limit=limit, end=mark, script=script)
        for number, (script, limit) in enumerate(scripts)
    )
    stages = "".join(f" | stage part{number}" for number in range(len(scripts)))
    longest = max((limit for _, limit in scripts), default=0.0)
    result = host.run(f"mark='{mark}'\n{_STAGE}{parts}:{stages}\n", timeout=longest + 10)
    return _answers(result, mark, len(scripts))


def _mark() -> str:
    """Unguessable, so nothing that is printed can pass for a boundary."""
    return f"@@{secrets.token_hex(8)}"


def _answers(result: Result, mark: str, count: int) -> list[Result]:
    parts = result.stdout.split(f"\n{mark}")
    found, said = [], parts[0]
    for part in parts[1:]:
        exited, _, following = part.partition("\n")
        found.append(Result(int(exited), said))
        said = following
    lost = Result(UNKNOWN if result else result.exited, stderr=result.stderr)
    return [*found, *[lost] * (count - len(found))]
