"""The commands. Progress goes to stderr, results to stdout, ``Error: …`` to stderr with exit code 1."""

import argparse
import hashlib
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from .client import Client
from .modelfile import create_request
from .names import parse as parse_name
from .settings import FOREVER, Failure
from .version import VERSION
from .wire import human_bytes


def main() -> int:
    """Run one command; returns the exit code."""
    arguments = _parser().parse_args()
    if arguments.version:
        return _version()
    if not arguments.command:
        _parser().print_help()
        return 0
    try:
        if arguments.command in ("serve", "start"):
            from .serve import serve  # the other commands start faster without the server

            return serve()
        client = Client()
        client.check()
        run: Callable[[Client, argparse.Namespace], None] = arguments.run
        run(client, arguments)
    except Failure as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    except BrokenPipeError:
        return 1
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """A wrong command line exits with 1, not with argparse's 2."""
        self.exit(1, f"Error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="ollama", description="Large language model runner")
    parser.add_argument("-v", "--version", action="store_true", help="Show version information")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", aliases=["start"])
    for run, names, options in (
        (_list, ["list", "ls"], []),
        (_ps, ["ps"], []),
        (_show, ["show"], ["model"]),
        (_create, ["create"], ["model"]),
        (_run, ["run"], ["model", "prompt"]),
        (_stop, ["stop"], ["model"]),
        (_remove, ["rm"], ["models"]),
        (_copy, ["cp"], ["source", "destination"]),
    ):
        command = commands.add_parser(names[0], aliases=names[1:])
        command.set_defaults(run=run)
        for option in options:
            command.add_argument(option, nargs={"models": "+", "prompt": "*"}.get(option))
        if run is _show:
            command.add_argument("--modelfile", action="store_true")
        if run is _create:
            command.add_argument("-f", "--file", default="")
    return parser


def _version() -> int:
    server = Client().version()
    if not server:
        _say("Warning: could not connect to a running Ollama instance")
    else:
        _say(f"ollama version is {server}")
    if server != VERSION:
        _say(f"Warning: client version is {VERSION}")
    return 0


def _list(client: Client, arguments: argparse.Namespace) -> None:
    rows = [["NAME", "ID", "SIZE", "MODIFIED"]]
    for model in client.call("GET", "/api/tags")["models"]:
        when = _relative(model["modified_at"])
        rows.append([model["name"], model["digest"][:12], human_bytes(model["size"]), when])
    _table(rows)


def _ps(client: Client, arguments: argparse.Namespace) -> None:
    rows = [["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"]]
    for model in client.call("GET", "/api/ps")["models"]:
        until = _relative(model["expires_at"])
        size, context = human_bytes(model["size"]), str(model["context_length"])
        rows.append([model["name"], model["digest"][:12], size, "100% CPU", context, until])
    _table(rows)


def _show(client: Client, arguments: argparse.Namespace) -> None:
    shown = client.call("POST", "/api/show", {"model": arguments.model})
    if arguments.modelfile:
        _say(shown["modelfile"])
        return
    info, details = shown["model_info"], shown["details"]
    architecture = info["general.architecture"]
    _say("  Model")
    for label, value in (
        ("architecture", architecture),
        ("parameters", details["parameter_size"]),
        ("context length", info.get(f"{architecture}.context_length", "")),
        ("embedding length", info.get(f"{architecture}.embedding_length", "")),
        ("quantization", details["quantization_level"]),
    ):
        _say(f"    {label:<20}{value}")
    _say("\n  Capabilities\n" + "\n".join(f"    {item}" for item in shown["capabilities"]))
    if shown.get("parameters"):
        _say("\n  Parameters\n" + "\n".join(f"    {item}" for item in shown["parameters"].splitlines()))


def _create(client: Client, arguments: argparse.Namespace) -> None:
    path = Path(arguments.file or "Modelfile")
    if not path.is_file():
        raise Failure("no Modelfile or safetensors files found")
    if parse_name(arguments.model) is None:
        raise Failure(f"invalid model name: {arguments.model}")
    _progress("gathering model components")
    request = create_request(arguments.model, path.read_text(encoding="utf-8"), path.absolute().parent)
    files = {}
    for name, file in request.files.items():
        digest = _digest(file)
        _progress(f"copying file {digest}")
        client.upload(digest, file)
        files[name] = digest
    body: dict[str, object] = {"model": arguments.model, "name": "", **request.fields}
    optional = {"from": request.origin, "files": files, "parameters": request.parameters}
    body.update({key: value for key, value in optional.items() if value})
    for line in client.stream("/api/create", body):
        _progress(line["status"])


def _run(client: Client, arguments: argparse.Namespace) -> None:
    model = arguments.model
    try:
        client.call("POST", "/api/show", {"model": model})
    except Failure as error:
        if "not found" not in str(error):
            raise
        for line in client.stream("/api/pull", {"model": model, "name": ""}):
            _progress(line["status"])
    prompt = " ".join(arguments.prompt) or sys.stdin.read()
    for line in client.stream("/api/generate", {"model": model, "prompt": prompt}):
        sys.stdout.write(line["response"])
        sys.stdout.flush()
    _say("\n")


def _stop(client: Client, arguments: argparse.Namespace) -> None:
    try:
        _unload(client, arguments.model)
    except Failure as error:
        if "not found" in str(error):
            raise Failure(f'couldn\'t find model "{arguments.model}" to stop') from None
        raise


def _remove(client: Client, arguments: argparse.Namespace) -> None:
    for model in arguments.models:
        try:
            _unload(client, model)
        except Failure as error:
            if "not found" not in str(error):
                sys.stderr.write(f"Warning: unable to stop model '{model}'\n")
        client.call("DELETE", "/api/delete", {"model": "", "name": model})
        _say(f"deleted '{model}'")


def _copy(client: Client, arguments: argparse.Namespace) -> None:
    client.call("POST", "/api/copy", {"source": arguments.source, "destination": arguments.destination})
    _say(f"copied '{arguments.source}' to '{arguments.destination}'")


def _unload(client: Client, model: str) -> None:
    client.call("POST", "/api/show", {"model": model})
    for _ in client.stream("/api/generate", {"model": model, "keep_alive": "0s"}):
        pass


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _relative(text: str) -> str:
    moment = datetime.fromisoformat(text[:19] + "+00:00")
    seconds = (moment - datetime.now(UTC)).total_seconds()
    if abs(seconds) > FOREVER / 3:
        return "Forever"
    count, unit = next(
        (int(abs(seconds) // size), unit)
        for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"), (0.000001, ""))
        if abs(seconds) >= size or not unit
    )
    if not unit:
        return "Less than a second " + ("from now" if seconds > 0 else "ago")
    return f"{count} {unit}{'s' if count != 1 else ''} {'from now' if seconds > 0 else 'ago'}"


def _table(rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) + 4 for column in range(len(rows[0]))]
    for row in rows:
        _say("".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


def _progress(text: str) -> None:
    sys.stderr.write(f"\x1b[?25l\x1b[2K\x1b[1G{text} \x1b[K\x1b[?25h\n")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
