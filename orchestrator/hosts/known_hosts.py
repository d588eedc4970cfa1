"""Files of host keys, as ssh(1) keeps them: read, matched, appended to, cleared.

paramiko's own reader stops at a damaged line and takes one key of a type only; so lines are read here.
"""

import base64
import binascii
import hashlib
import hmac
import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path


def trusted_files(extra: Path | None = None) -> list[Path]:
    """The files whose keys are trusted: the system's, the user's, and ``extra``; those that exist."""
    files = [Path("/etc/ssh/ssh_known_hosts"), users_file(), *([extra] if extra else [])]
    return [file for file in dict.fromkeys(files) if file.is_file()]


def users_file() -> Path:
    """The user's own file, where ``hosts trust`` writes unless told otherwise."""
    return Path("~/.ssh/known_hosts").expanduser()


def read(file: Path) -> list[str]:
    """The lines of a file, none where there is no file. Raises OSError when it cannot be read."""
    return file.read_text("utf-8", "surrogateescape").splitlines() if file.exists() else []


def lines_of(name: str, files: Iterable[Path]) -> list[str]:
    """The entries of a machine; ``name`` is ``address`` or ``[address]:port``. Raises OSError as :func:`read`."""
    return [
        line
        for file in files
        for line in read(file)
        if _is_entry(line) and any(_means(word, name) for word in _names(line))
    ]


def key_of(line: str) -> tuple[str, str]:
    """Type and base64 key of an entry."""
    kind, blob = line.split()[1:3]
    return kind, blob


def described(line: str) -> str:
    """Type and fingerprint of an entry."""
    kind, blob = key_of(line)
    with suppress(binascii.Error, ValueError):
        digest = hashlib.sha256(base64.b64decode(blob)).digest()
        return f"{kind} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"
    return f"{kind} (damaged)"


def append(file: Path, lines: Sequence[str]) -> None:
    """Add lines at the end; the file is made with mode 0600, its folder with 0700. Raises OSError."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "rb+", buffering=0) as out:
        size = out.seek(0, os.SEEK_END)
        out.seek(max(0, size - 1))
        gap = b"" if size == 0 or out.read(1) == b"\n" else b"\n"
        out.write(gap + "".join(f"{line}\n" for line in lines).encode())


def forget(file: Path, names: set[str]) -> None:
    """Take machines out of a file, at once or not at all. Raises OSError."""
    target = file.resolve()
    kept = [rest for line in read(target) if (rest := _without(line, names)) is not None]
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".known_hosts.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as out:
            out.writelines(f"{line}\n" for line in kept)
        Path(temporary).replace(target)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _is_entry(line: str) -> bool:
    """Comments and ``@`` marked lines (authorities, revocations) are none."""
    return not line.startswith(("#", "@")) and len(line.split()) >= 3


def _names(line: str) -> list[str]:
    return line.split()[0].split(",")


def _means(word: str, name: str) -> bool:
    """Whether a word of known_hosts, perhaps hashed, is this machine."""
    if not word.startswith("|1|"):
        return word == name
    try:
        salt, digest = (base64.b64decode(part) for part in word.split("|")[2:])
    except ValueError:  # binascii.Error among them
        return False
    return hmac.digest(salt, name.encode(), "sha1") == digest


def _without(line: str, names: set[str]) -> str | None:
    """The line with these machines taken out; nothing when no machine is left."""
    if not _is_entry(line):
        return line
    words = _names(line)
    left = [word for word in words if not any(_means(word, name) for name in names)]
    if left == words:
        return line
    return " ".join([",".join(left), *line.split()[1:]]) if left else None
