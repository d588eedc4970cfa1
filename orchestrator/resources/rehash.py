"""Hash what lies on a host once more, to hold it against what it was when it came."""

from collections.abc import Sequence

from orchestrator.errors import DeployError
from orchestrator.hosts.base import Host, quote
from orchestrator.progress import Progress
from orchestrator.resources.origin import Origin

_LONGEST_S = 24 * 3600.0

# A git blob's name is the sha1 of its length and its content.
_DIGESTS = {
    "sha256": "sha256sum < {path}",
    "git-sha1": "{{ printf 'blob %s\\0' \"$(wc -c < {path} | tr -d ' ')\"; cat {path}; }} | sha1sum",
}


def rehash(host: Host, origins: Sequence[Origin], progress: Progress) -> dict[str, str]:
    """The digests of the files of ``origins``, by path, of the kind that each is pinned by; a missing one has none.

    Reads every byte. Raises DeployError, UnreachableError.
    """
    pins = {origin.path: origin.pin.partition(":")[0] for origin in origins if origin.path}
    wanted = [(path, kind) for path, kind in pins.items() if kind in _DIGESTS]
    if not wanted:
        return {}
    found: dict[str, str] = {}
    with progress.task("hash model files", total=len(wanted), unit="files") as task:

        def read(line: str) -> None:
            number, _, digest = line.partition(" ")
            if number.isdecimal() and int(number) < len(wanted):
                path, kind = wanted[int(number)]
                found[path] = f"{kind}:{digest.strip()}"
                task.update(len(found))

        lines = [_one(number, path, kind) for number, (path, kind) in enumerate(wanted)]
        result = host.run("\n".join([*lines, "echo done"]), timeout=_LONGEST_S, on_line=read)
    if not result or not result.stdout.endswith("done\n"):
        raise DeployError("cannot hash what is there", host=host.name, why=result.tail())
    return found


def _one(number: int, path: str, kind: str) -> str:
    """Shell that prints the number and the digest of a file, where it is there."""
    digest = _DIGESTS[kind].format(path=quote(path))
    return f"[ ! -f {quote(path)} ] || printf '%s\\n' \"{number} $({{ {digest}; }} | cut -d ' ' -f 1)\""
