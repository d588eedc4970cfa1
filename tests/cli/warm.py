"""A process in which deployctl is loaded already, and which forks for each command: as `python -c` is, but quick.

It reads a request a line from standard input and answers with the exit status; it ends when nobody asks any more.
Nothing that reads its environment while it is loaded may be loaded here.
"""

import importlib
import json
import os
import signal
import sys
import traceback

LOADED = ("orchestrator.cli.root", "orchestrator.planning.carry_out", "jinja2")
LIMIT_S = 60


def refuse(*_: object, **__: object) -> None:
    raise SystemExit("touched the network or a host")


def guard() -> None:
    """End with status 1 when a connection is opened or a program started."""
    import socket
    import subprocess

    socket.socket.connect = socket.getaddrinfo = subprocess.Popen.__init__ = refuse  # type: ignore[assignment,method-assign]


def run(request: dict[str, object]) -> int:
    """What the fork does: be the process that was asked for."""
    signal.alarm(LIMIT_S)
    for number, (path, flags) in enumerate(((os.devnull, os.O_RDONLY), (request["out"], 1), (request["err"], 1))):
        opened = os.open(str(path), flags)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(str(request["cwd"]))
    os.environ.clear()
    os.environ.update(request["env"])  # type: ignore[call-overload]
    sys.argv[1:] = [os.fsdecode(bytes.fromhex(word)) for word in request["words"]]  # type: ignore[attr-defined]
    if request["guarded"]:
        guard()
    from orchestrator.cli import main

    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    sys.argv = ["deployctl"]
    for name in LOADED:
        importlib.import_module(name)
    for line in sys.stdin.buffer:
        child = os.fork()
        if not child:
            status = run(json.loads(line))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        _, ended = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(ended)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
