"""supervisord's files, read back by supervisord's own parser."""

import contextlib
import shlex
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from supervisor.options import ServerOptions
from supervisor.process import Subprocess

from orchestrator.templating import filters
from orchestrator.templating.engine import Renderer
from orchestrator.templating.text import Unsayable
from tests.templating.hostile import BOUND, TEXTS, VALUES
from tests.templating.test_golden import accepted, context_of


def main_file(folder: Path) -> dict[str, object]:
    return {
        "socket": f"{folder}/s.sock",
        "pidfile": f"{folder}/s.pid",
        "logfile": f"{folder}/s.log",
        "include": "programs/*.conf",
        "directory": str(folder),
    }


def read(folder: Path, program: dict[str, object] | None) -> ServerOptions:
    """What supervisord would run: parsed from files, by the code that it runs itself at its start."""
    (folder / "programs").mkdir(parents=True, exist_ok=True)
    main = folder / "supervisord.conf"
    main.write_bytes(Renderer().render("supervisor/supervisord.conf.j2", main_file(folder)).encode())
    if program is not None:
        text = Renderer().render("supervisor/program.conf.j2", program)
        (folder / "programs" / "one.conf").write_bytes(text.encode())
    options = ServerOptions()
    options.realize(args=["-c", str(main)])
    return options


def program(folder: Path, **changes: object) -> dict[str, object]:
    common = {"name": "vllm", "exec": ["/bin/true"], "environment": [], "directory": str(folder), "user": None}
    return {**common, "log_file": f"{folder}/vllm.log", "stop_wait_s": 30, **changes}


def only_program(options: ServerOptions):
    ((process,),) = [group.process_configs for group in options.process_group_configs]
    return process


def hostile(test):
    for value in VALUES:
        test = example(text=value)(test)
    return settings(BOUND, max_examples=100)(given(text=TEXTS)(test))


@hostile
def test_words(tmp_path: Path, text: str) -> None:
    with contextlib.suppress(Unsayable):
        filters.supervisor_exec([text])
        words = ["/bin/true", text, f"--x={text}", "end"]
        process = only_program(read(tmp_path, program(tmp_path, exec=words)))
        assert Subprocess(process).get_execv_args() == ("/bin/true", words)
        assert shlex.split(process.command) == words


@hostile
def test_variables(tmp_path: Path, text: str) -> None:
    with contextlib.suppress(Unsayable):
        filters.supervisor_env([("A", text)])
        pairs = [("A", text), ("B", "next")]
        assert only_program(read(tmp_path, program(tmp_path, environment=pairs))).environment == dict(pairs)


@hostile
def test_paths(tmp_path: Path, text: str) -> None:
    folder = tmp_path / ("d" + text.replace("/", "_").replace("\0", "_").encode("utf-8", "replace").decode())
    with contextlib.suppress(Unsayable):
        filters.supervisor(str(folder))
        folder.mkdir(exist_ok=True)
        log = f"{folder}/log{folder.name}"
        options = read(tmp_path, program(tmp_path, directory=str(folder), log_file=log))
        assert only_program(options).directory == str(folder)
        assert only_program(options).stdout_logfile == log


@pytest.mark.parametrize(
    "value", ["a ;b", "a #b", "100%", "%(here)s", "%(ENV_HOME)s", "a,b=c", "it's", "\\", "世界", " x "]
)
def test_the_usual_traps_can_be_said(tmp_path: Path, value: str) -> None:
    options = read(tmp_path, program(tmp_path, exec=["/bin/true", value], environment=[("A", value)]))
    process = only_program(options)
    assert (Subprocess(process).get_execv_args()[1], process.environment) == (["/bin/true", value], {"A": value})


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "'a", 'a"', "both ' and \" x", "a\0b"])
def test_what_its_environment_cannot_hold_is_refused(value: str) -> None:
    with pytest.raises(Unsayable):
        filters.supervisor_env([("A", value)])


@pytest.mark.parametrize("value", ["", "a b", "a\tb", "a\nb"])
def test_an_include_pattern_is_one_word(value: str) -> None:
    with pytest.raises(Unsayable):
        filters.supervisor_pattern(value)


def test_the_main_file_opens_a_private_socket_and_no_port(tmp_path: Path) -> None:
    folder = tmp_path / "a 100% ;odd (here)s"
    options = read(folder, None)
    (server,) = options.server_configs
    assert (server["file"], server["chmod"]) == (f"{folder}/s.sock", 0o700)
    assert options.serverurl == f"unix://{folder}/s.sock"
    assert (options.pidfile, options.logfile) == (f"{folder}/s.pid", f"{folder}/s.log")
    assert options.nodaemon is False
    assert options.minfds <= 256


def test_a_program_restarts_whenever_it_ends_and_stops_with_its_workers(tmp_path: Path) -> None:
    process = only_program(read(tmp_path, program(tmp_path, stop_wait_s=45)))
    assert process.autorestart.__name__ == "RestartUnconditionally"
    assert (process.stopasgroup, process.killasgroup, process.stopwaitsecs) == (True, True, 45)
    assert (process.redirect_stderr, process.stdout_logfile_backups) == (True, 3)


@pytest.mark.parametrize("case", accepted("program.conf.j2"), ids=str)
def test_cases_give_back_their_values(case: Path, tmp_path: Path) -> None:
    context = context_of(case) | {"directory": str(tmp_path), "log_file": f"{tmp_path}/log", "user": None}
    process = only_program(read(tmp_path, context))
    assert (process.name, process.environment) == (context["name"], dict(context["environment"]))  # type: ignore[call-overload]
    assert shlex.split(process.command) == context["exec"]
