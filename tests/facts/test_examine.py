"""What `doctor` observes beyond the facts, in every sh that is here."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import DeployError
from orchestrator.facts.examine import Examination, examine
from orchestrator.hosts.base import Result
from tests.facts.shells import SHELLS, ShellHost

MORE_TOOLS = ("date", "df", "dirname", "grep", "readlink")


@pytest.fixture(params=sorted(SHELLS))
def host(request: pytest.FixtureRequest, tmp_path: Path) -> ShellHost:
    host = ShellHost(tmp_path / "host", SHELLS[request.param])
    for tool in MORE_TOOLS:
        host.link(tool)
    return host


def seen(host: ShellHost, **options: object) -> Examination:
    return examine(host, scope="user", **options)  # type: ignore[arg-type]


def elsewhere(host: ShellHost, **places: Path) -> None:
    """Let the script look at other places than this machine's: `etc_cdi` for /etc/cdi."""
    run = host.run
    named = {f"/{name.replace('_', '/')}": str(path) for name, path in places.items()}

    def replaced(script: str, **options: object) -> Result:
        for place, path in named.items():
            script = script.replace(place, path)
        return run(script, **options)  # type: ignore[arg-type]

    host.run = replaced  # type: ignore[method-assign]


def test_a_bare_machine(host: ShellHost) -> None:
    found = seen(host, ports=[5000], sources={"hub": "https://hub.example.org/"})
    assert found.facts.layout.data == f"{host.folder}/.local/share/deployctl"
    assert (found.skew, found.toolkit_hook, found.cgroup_driver, found.sources, found.holders) == (0.0, "", "", (), ())
    ((purpose, path, writable),) = [(disk.purpose, disk.path, disk.writable) for disk in found.disks]
    assert (purpose, path, writable) == ("data", str(host.folder), True)
    assert found.disks[0].free is not None and found.disks[0].total is not None
    assert 0 < found.disks[0].free < found.disks[0].total
    assert found.kernel
    assert found.max_map_count > 0


def test_docker_and_what_gives_gpus_to_its_containers(host: ShellHost, tmp_path: Path) -> None:
    cdi = tmp_path / "cdi"
    cdi.mkdir()
    (cdi / "nvidia.yaml").write_text("cdiVersion: 0.5.0\nkind: nvidia.com/gpu\n")
    (cdi / "other.json").write_text('{"kind": "vendor.com/net"}')
    devices = tmp_path / "char"
    devices.mkdir()
    (devices / "195:0").symlink_to("../nvidia0")
    host.program("docker", f'[ "$1" = version ] && echo 28.3.2 || echo "systemd 2 {tmp_path}/a b"')
    (tmp_path / "a b").mkdir()
    host.program("nvidia-ctk", 'echo "NVIDIA Container Toolkit CLI version 1.17.8"; echo "commit: f202b80a"')
    host.program("nvidia-container-runtime-hook", "exit 1")
    elsewhere(host, etc_cdi=cdi, dev_char=devices)
    found = seen(host)
    assert (found.cgroup_driver, found.cgroup_version, found.toolkit) == ("systemd", "2", "1.17.8")
    assert (found.toolkit_hook, found.device_links) == ("nvidia-container-runtime-hook", True)
    assert found.cdi == (f"{cdi}/nvidia.yaml",)
    assert {disk.purpose: disk.path for disk in found.disks}["images"] == f"{tmp_path}/a b"


def test_cards_on_the_bus_without_a_driver(host: ShellHost, tmp_path: Path) -> None:
    for name, vendor, kind in (("1", "0x10de", "0x030000"), ("2", "0x10de", "0x030200"), ("3", "0x10de", "0x040300")):
        card = tmp_path / "pci" / name
        card.mkdir(parents=True)
        (card / "vendor").write_text(f"{vendor}\n")
        (card / "class").write_text(f"{kind}\n")
    (tmp_path / "pci" / "4").mkdir()
    (tmp_path / "nouveau").mkdir()
    elsewhere(host, sys_bus_pci_devices=tmp_path / "pci", sys_module_nouveau=tmp_path / "nouveau")
    found = seen(host)
    assert (found.nvidia_cards, found.nouveau) == (2, True)


def test_who_has_a_port(host: ShellHost) -> None:
    host.program(
        "ss",
        'case "$*" in *5000*) echo \'LISTEN 0 5 127.0.0.1:5000 0.0.0.0:* users:(("my server",pid=77,fd=3))\';; esac',
    )
    ((port, pid, name),) = [(item.port, item.pid, item.name) for item in seen(host, ports=[5000, 11434]).holders]
    assert (port, pid, name) == (5000, 77, "my server")


def test_downloads_are_tried_with_the_host_s_own_curl_and_proxy(host: ShellHost) -> None:
    host.variables |= {"https_proxy": "http://ada:canary@proxy:3128"}
    host.program(
        "curl",
        "read -r line; case $line in *hub*) printf 'curl: (6) Could not resolve host: hub\\n\\n000'; exit 6;; esac\n"
        "printf '\\n200'",
    )
    found = seen(host, sources={"hub": "https://hub.example.org/", "ollama": "https://mirror/o.tar.zst"})
    told = {item.name: (item.status, item.exited, item.error) for item in found.sources}
    assert told == {"hub": (0, 6, "Could not resolve host: hub"), "ollama": (200, 0, "")}
    assert found.proxies == ("https_proxy=http://***@proxy:3128",)


@pytest.mark.parametrize(
    "url", ['https://x/"\noutput = "owned"', "https://x/\\", "https://x/$(touch owned)", "https://x/ y"]
)
def test_no_url_adds_a_line_to_what_curl_is_told(host: ShellHost, url: str) -> None:
    host.program("curl", f'cat > {host.folder}/told; printf "\\n200"')
    (source,) = seen(host, sources={"hub": url}).sources
    assert source.status == 200
    told = (host.folder / "told").read_text()
    assert told.startswith('url = "https://x/') and told.count("\n") == 1 and told.count('"') == 2
    assert not (host.folder / "owned").exists()


def test_a_docker_that_hangs_is_not_waited_for(host: ShellHost) -> None:
    host.link("sleep")
    host.program("docker", "exec sleep 600")
    run = host.run
    host.run = lambda script, **options: run(script.replace("limit 20", "limit 0.5"), **options)  # type: ignore[method-assign]
    found = seen(host)
    assert (found.facts.docker, found.facts.docker_problem) == ("", "docker does not answer")


# A clock, and answers that are cut or strange


class Answer:
    """A host that gives one answer to everything."""

    name = "gpu01"
    is_local = False

    def __init__(self, **more: str) -> None:
        values = {"uid": "0", "home": "/root", "arch": "x86_64", "end": "yes", "examined": "yes", **more}
        self.text = "".join(f"{key}\t{value}\n" for key, value in values.items())

    def run(self, script: str, **_: object) -> Result:
        return Result(0, self.text)


@pytest.mark.parametrize(("ahead", "least", "most"), [(100, 95, 100), (-100, -100, -95), (0, 0, 0)])
def test_the_clock_is_off_by_what_no_round_trip_explains(ahead: int, least: float, most: float) -> None:
    found = examine(Answer(clock=str(int(time.time()) + ahead)))  # type: ignore[arg-type]
    assert least <= found.skew <= most


def test_an_answer_that_is_cut_is_no_answer() -> None:
    with pytest.raises(DeployError):
        examine(Answer(examined=""))  # type: ignore[arg-type]


@given(st.sampled_from(["disk", "port_of", "source", "clock", "ntp", "memlock", "overcommit", "gpu"]), st.text())
def test_no_answer_is_a_traceback(key: str, value: str) -> None:
    assert examine(Answer(**{key: value})).facts.arch == "amd64"  # type: ignore[arg-type]
