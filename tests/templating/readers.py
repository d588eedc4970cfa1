"""The consumers of what the templates give, as small functions: real programs where there are any."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

SYSTEMD = Path("/lib/systemd/systemd")
NOBODY = 65534


@dataclass(frozen=True)
class Unit:
    """What systemd itself says that it read."""

    words: list[str]
    lines: dict[str, list[str]]

    @property
    def environment(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.lines.get("Environment", []))


@contextlib.contextmanager
def folder_for_all() -> Iterator[Path]:
    """A folder that `nobody` may use: systemd's test mode refuses root, and pytest's own folders are private."""
    folder = Path(tempfile.mkdtemp(prefix="deployctl-test-"))
    try:
        folder.chmod(0o755)
        (folder / "run").mkdir()
        if os.geteuid() == 0:
            os.chown(folder / "run", NOBODY, NOBODY)
        (folder / "run").chmod(0o700)
        yield folder
    finally:
        shutil.rmtree(folder)


def systemd_reads(files: Mapping[str, str]) -> dict[str, Unit]:
    """Load unit files (by their names, drop-ins too) with the real systemd, and read its dump of each unit."""
    if not SYSTEMD.exists():
        pytest.skip("no systemd on this machine")
    units = [name for name in files if "/" not in name]
    with folder_for_all() as folder:
        _write(folder, {**files, "all.target": f"[Unit]\nWants={' '.join(units)}\n"})
        run = folder / "run"
        environment = {"SYSTEMD_UNIT_PATH": f"{folder}:", "XDG_RUNTIME_DIR": str(run), "HOME": str(run)}
        command = [str(SYSTEMD), "--test", "--user", "--no-pager", "--unit=all.target"]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=True, timeout=60)
    dump = done.stdout.decode("utf-8", "surrogateescape")
    return {unit: _unit(dump.split(f"\t-> Unit {unit}:\n", 1)[1].split("\n\t-> Unit ", 1)[0]) for unit in units}


def _unit(block: str) -> Unit:
    lines: dict[str, list[str]] = {}
    for line in block.split("\n"):
        name, _, value = line.lstrip("\t").partition(": ")
        lines.setdefault(name, []).append(value)
    return Unit(words=_dumped_words(lines.get("Command Line", [""])[-1]), lines=lines)


def systemd_verifies(files: Mapping[str, str], unit: str) -> str:
    """What `systemd-analyze verify` complains of: nothing, when all is well."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    with folder_for_all() as folder:
        _write(folder, files)
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(folder / unit)],
            env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"},
            capture_output=True,
            text=True,
            timeout=60,
        )
    return done.stdout + done.stderr + (f"exit {done.returncode}" if done.returncode else "")


def exposure(text: str) -> float:
    """The score of `systemd-analyze security`: 0 is locked up, 10 is open."""
    found = re.search(r"exposure level for scored\.service: ([0-9.]+)", _security(text))
    assert found
    return float(found[1])


def not_locked_up(text: str) -> list[str]:
    """The settings that `systemd-analyze security` marks."""
    return [line.split()[1] for line in _security(text).splitlines() if line.startswith("✗")]


def _security(text: str) -> str:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    with folder_for_all() as folder:
        _write(folder, {"scored.service": text})
        command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(folder / "scored.service")]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    return done.stdout + done.stderr


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode())


def _dumped_words(line: str) -> list[str]:
    """The words of a "Command Line:" of systemd's dump, which quotes as C does where it must."""
    words = re.findall(r'"(?:\\.|[^"\\])*"|[^ ]+', line)
    return [re.sub(r"\\(.)", _unescaped, word[1:-1]) if word.startswith('"') else word for word in words]


def _unescaped(escape: re.Match[str]) -> str:
    return "\t" if escape[1] == "t" else escape[1]


def sourced(text: str, name: str) -> str:
    """A variable's value after a POSIX shell has sourced an environment file."""
    done = subprocess.run(
        ["sh", "-c", f'eval "$(cat)"; printf %s "${name}"'], input=text.encode(), capture_output=True, check=True
    )
    return done.stdout.decode()


def environment_file(text: str) -> dict[str, str]:
    """EnvironmentFile= as systemd.exec(5) has it: shell-like quotes, C-like only for `"`, `\\`, `` ` `` and `$`."""
    values: dict[str, str] = {}
    stream = io.StringIO(text, newline="")
    for line in iter(stream.readline, ""):
        name, _, rest = line.partition("=")
        value, quote, index = "", "", 0
        rest = rest.rstrip("\n")
        while index < len(rest):
            character = rest[index]
            if quote:
                if character == "\\" and quote == '"':
                    index += 1
                    value += rest[index] if rest[index] in '"\\`$' else f"\\{rest[index]}"
                elif character == quote:
                    quote = ""
                else:
                    value += character
            elif character in "\"'":
                quote = character
            elif character == "\\":
                index += 1
                value += rest[index]
            else:
                value += character
            index += 1
        assert not quote, "an open quote would swallow the next line"
        values[name] = value
    return values


def modelfile_commands(text: str) -> list[tuple[str, str]]:
    """The commands Ollama's parser reads: rune by rune, as a machine of states."""
    commands: list[tuple[str, str]] = []
    state, name, buffer, role = "nil", "", "", ""
    for rune in [*text, "\n"]:
        space, newline = rune in " \t", rune in "\r\n"
        if state == "nil":
            state = "comment" if rune == "#" else "nil" if space or newline else "name"
            buffer = rune if state == "name" else ""
        elif state == "comment":
            state = "nil" if newline else state
        elif state == "value" and (space or newline):
            value = modelfile_unquote(buffer.strip())
            if value is None or space:
                buffer += rune
            else:
                commands.append((name, f"{role}: {value}" if role else value))
                state, buffer, role = "nil", "", ""
        elif state == "value":
            buffer += rune if rune.isprintable() else ""
        elif not space:
            assert not newline, f"unexpected end after {buffer}"
            buffer += rune
        elif state == "name":
            name = buffer.lower()
            assert name in MODELFILE_COMMANDS, name
            state, buffer = {"parameter": "parameter", "message": "role"}.get(name, "value"), ""
        else:
            name, role = (buffer, "") if state == "parameter" else (name, buffer)
            state, buffer = "value", ""
    assert state in ("nil", "comment"), f"unexpected end in {state}: {buffer}"
    return commands


MODELFILE_COMMANDS = {"from", "license", "template", "system", "adapter", "draft"} | {
    *("renderer", "parser", "parameter", "message", "requires")
}


def modelfile_unquote(text: str) -> str | None:
    if text[:3] == '"""':
        return text[3:-3] if len(text) >= 6 and text[-3:] == '"""' else None
    if text[:1] == '"':
        return text[1:-1] if len(text) >= 2 and text[-1] == '"' else None
    return text
