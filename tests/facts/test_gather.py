"""The one script that observes a host, in every sh that is here, with programs that answer as real ones do."""

from __future__ import annotations

import base64
import os
import platform
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import DeployError, RefusedError
from orchestrator.facts import Facts, gather
from orchestrator.hosts.base import Result
from tests.facts.shells import SHELLS, ShellHost


@pytest.fixture(params=sorted(SHELLS))
def host(request: pytest.FixtureRequest, tmp_path: Path) -> ShellHost:
    return ShellHost(tmp_path / "host", SHELLS[request.param])


def test_a_bare_machine(host: ShellHost) -> None:
    facts = gather(host, scope="user")  # type: ignore[arg-type]
    assert (facts.host, facts.uid, facts.home) == ("shell", os.getuid(), str(host.folder))
    assert facts.arch == {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    assert facts.cpus >= 1
    assert 0 < facts.memory_available <= facts.memory_total
    assert facts.layout.state == f"{host.folder}/.local/state/deployctl"
    assert (facts.docker, facts.docker_problem) == ("", "docker is not installed")
    assert (facts.gpus, facts.gpu_problem, facts.pythons, facts.systemd) == ((), "", (), False)
    assert {"curl", "docker", "ss"}.isdisjoint(facts.tools)
    assert "base64" in facts.tools


def test_docker_and_pythons(host: ShellHost) -> None:
    host.program("docker", "echo 28.3.2")
    host.program("python3", 'echo "3 12 yes"')
    host.program("python3.10", "exit 1")
    host.program("curl", "exit 0")
    facts = gather(host)  # type: ignore[arg-type]
    assert facts.docker == "28.3.2"
    assert [(python.version, python.venv) for python in facts.pythons] == [((3, 12), True)]
    assert {"curl", "docker"} <= facts.tools


def test_programs_that_are_there_but_fail_say_why(host: ShellHost) -> None:
    host.program("nvidia-smi", "echo 'NVIDIA-SMI has failed'; echo 'Make sure the driver is running.' >&2; exit 9")
    host.program("docker", "echo 'permission denied while trying to connect' >&2; exit 1")
    facts = gather(host)  # type: ignore[arg-type]
    assert (facts.gpus, facts.gpu_problem) == ((), "NVIDIA-SMI has failed Make sure the driver is running.")
    assert (facts.docker, facts.docker_problem) == ("", "permission denied while trying to connect")


def test_ports_from_ss(host: ShellHost) -> None:
    lines = [
        "LISTEN 0 128 0.0.0.0:22 0.0.0.0:*",
        "LISTEN 0 128 127.0.0.53%lo:53 0.0.0.0:*",
        "LISTEN 0 128 [::]:8080 [::]:*",
        "LISTEN 0 128 [::1]:631 [::]:*",
        "LISTEN 0 128 *:9090 *:*",
        "LISTEN 0 128 [::ffff:127.0.0.1]:5000 *:*",
    ]
    host.program("ss", "\n".join(f"echo '{line}'" for line in lines))
    facts = gather(host)  # type: ignore[arg-type]
    assert {(item.address, item.port) for item in facts.listeners} == {
        ("0.0.0.0", 22),
        ("127.0.0.53", 53),
        ("::", 8080),
        ("::1", 631),
        ("*", 9090),
        ("127.0.0.1", 5000),
    }
    assert facts.listening("127.0.0.1", 5000)
    assert facts.listening("127.0.0.1", 8080)
    assert facts.listening("0.0.0.0", 631)
    assert not facts.listening("127.0.0.1", 631)
    assert not facts.listening("127.0.0.1", 5001)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another group")
def test_who_has_the_engine_s_number_and_the_gpus_files(host: ShellHost, tmp_path: Path) -> None:
    (tmp_path / "nvidia0").symlink_to("/dev/null")
    os.chown(tmp_path / "nvidia0", -1, 44, follow_symlinks=False)
    (tmp_path / "nvidia-caps").mkdir()
    (host.bin / "stat").symlink_to("/usr/bin/stat")
    run = host.run
    host.run = lambda script, **options: run(script.replace("/dev/nvidia", f"{tmp_path}/nvidia"), **options)  # type: ignore[method-assign]
    facts = gather(host)  # type: ignore[arg-type]
    assert facts.gpu_groups == (44,) and "uid:2000" not in facts.accounts
    (host.bin / "getent").unlink()
    host.program("getent", "test $1:$2 = passwd:2000")
    os.chown(tmp_path / "nvidia0", -1, 0, follow_symlinks=False)
    facts = gather(host)  # type: ignore[arg-type]
    assert facts.gpu_groups == () and facts.accounts == {"uid:2000"}


def test_ports_from_proc_where_there_is_no_ss(host: ShellHost, tmp_path: Path) -> None:
    header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    (tmp_path / "tcp").write_text(
        header
        + "   0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100\n"
        + "   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100\n"
        + "   2: 0100007F:C350 0100007F:1388 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100\n"
    )
    (tmp_path / "tcp6").write_text(
        header
        + "   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 4 1 0\n"
    )
    run = host.run
    host.run = lambda script, **options: run(script.replace("/proc/net/tcp", f"{tmp_path}/tcp"), **options)  # type: ignore[method-assign]
    facts = gather(host)  # type: ignore[arg-type]
    assert {(item.address, item.port) for item in facts.listeners} == {
        ("127.0.0.1", 5000),
        ("0.0.0.0", 22),
        ("::", 8080),
    }


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n', "Debian GNU/Linux 12 (bookworm)"),
        ("ID=alpine\n", "alpine"),
        ('PRETTY_NAME="two\nlines\tgpu\t0"\ngpu\t9\n', "two"),
        ("PRETTY_NAME='unfinished\n", "unfinished"),
        ("exit 3\n", ""),
        ("NAME=\"$(touch $HOME/owned)\"\nPRETTY_NAME='x'\n", "x"),
    ],
)
def test_os_release_can_break_nothing(host: ShellHost, tmp_path: Path, release: str, expected: str) -> None:
    (tmp_path / "os-release").write_text(release)
    run = host.run
    host.run = lambda script, **options: run(script.replace("/etc/os-release", f"{tmp_path}/os-release"), **options)  # type: ignore[method-assign]
    facts = gather(host)  # type: ignore[arg-type]
    assert facts.os == expected
    assert facts.gpus == ()
    assert not (host.folder / "owned").exists()


def test_xdg_directories_and_manifests(host: ShellHost, tmp_path: Path) -> None:
    state = tmp_path / "state dir"
    texts = ['{"name": "one"}', 'tab\tquote"ünï\nsecond line\n']
    for number, text in enumerate(texts):
        place = state / "deployctl" / "deployments" / f"d{number}"
        place.mkdir(parents=True)
        (place / "manifest.json").write_text(text)
    host.variables |= {"XDG_STATE_HOME": str(state), "XDG_DATA_HOME": "relative/is/ignored"}
    facts = gather(host, scope="user")  # type: ignore[arg-type]
    assert facts.layout.state == f"{state}/deployctl"
    assert facts.layout.data == f"{host.folder}/.local/share/deployctl"
    assert list(facts.manifests) == texts


def test_a_tool_outside_the_path_of_sudo_is_found_in_sbin(host: ShellHost) -> None:
    """The script looks into sbin itself, since a login over SSH often has no such PATH."""
    seen: list[str] = []
    run = host.run
    host.run = lambda script, **options: (seen.append(script), run(script, **options))[1]  # type: ignore[method-assign]
    gather(host)  # type: ignore[arg-type]
    assert "/usr/sbin" in seen[0]


# What comes back may be cut, foreign or strange


class Answer:
    """A host that gives one answer to everything."""

    name = "gpu01"
    is_local = False

    def __init__(self, result: Result) -> None:
        self.result = result

    def run(self, script: str, **_: object) -> Result:
        return self.result


def told(**changes: str) -> Callable[..., Facts]:
    values = {"uid": "0", "user": "root", "group": "root", "gid": "0", "home": "/root", "arch": "x86_64", **changes}
    lines = [f"{key}\t{value}" for key, value in values.items()]
    return lambda **options: gather(Answer(Result(0, "\n".join([*lines, "end\tyes", ""]))), **options)  # type: ignore[arg-type]


def test_an_answer_that_is_cut_is_no_answer() -> None:
    with pytest.raises(DeployError) as failed:
        gather(Answer(Result(0, "uid\t0\narch\tx86_64\n", "Connection lost")))  # type: ignore[arg-type]
    assert (failed.value.host, failed.value.why) == ("gpu01", "Connection lost")


def test_processors_nobody_builds_for_are_refused() -> None:
    with pytest.raises(RefusedError) as refused:
        told(arch="riscv64")()
    assert "riscv64" in refused.value.what


def test_system_wide_needs_root_and_user_scope_does_not_use_systemd() -> None:
    with pytest.raises(RefusedError):
        told(uid="1000", home="/home/ada")(scope="system")
    assert told(systemd="yes")().systemd
    assert told(systemd="yes")().layout.scope == "system"
    assert not told(systemd="yes")(scope="user").systemd
    assert told(uid="1000", home="/home/ada")().layout.state == "/home/ada/.local/state/deployctl"


def test_the_vendor_s_ollama() -> None:
    assert told()().vendor_ollama is None
    vendor = told(
        ollama_bin="/usr/local/bin/ollama",
        ollama_unit="/etc/systemd/system/ollama.service",
        ollama_user="ollama",
        ollama_home="/usr/share/ollama",
        ollama_active="active",
        ollama_enabled="disabled",
    )().vendor_ollama
    assert vendor is not None
    assert (vendor.active, vendor.enabled, vendor.models) == (True, False, "/usr/share/ollama/.ollama/models")


@given(
    st.lists(
        st.tuples(st.sampled_from(["gpu", "python", "listen", "listenhex", "manifest", "cpus", "uid", "x"]), st.text())
    )
)
def test_no_answer_is_a_traceback(pairs: list[tuple[str, str]]) -> None:
    lines = "".join(f"{key}\t{value}\n" for key, value in pairs)
    text = f"arch\tx86_64\n{lines}end\tyes\n"
    assert gather(Answer(Result(0, text)), scope="user").arch == "amd64"  # type: ignore[arg-type]


def test_a_manifest_that_is_no_base64_is_dropped_not_fatal() -> None:
    good = base64.b64encode(b"{}").decode()
    assert told(manifest=good)().manifests == ("{}",)
    assert told(manifest="*not base64*")().manifests == ("",)
