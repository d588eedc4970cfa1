"""The machine: root, programs, Docker, memory, disks, ports, downloads, clock, limits."""

from __future__ import annotations

import pytest

from orchestrator.doctor.checks import check
from orchestrator.facts import Layout, Listener, VendorOllama
from orchestrator.facts.examine import Disk
from orchestrator.spec import OllamaSpec, Spec
from orchestrator.spec.vllm import VllmSpec
from tests.doctor.scene import GIB, TOOLS, facts, holder, one, seen, source, told, wanted

USER = {"uid": 1000, "user": "ada", "home": "/home/ada", "systemd": False, "layout": Layout.user("/home/ada", {})}


def test_without_root_is_a_warning_unless_it_is_meant() -> None:
    finding = one(seen(facts(**USER)))
    assert (finding.level, finding.subject) == ("warn", "root")
    assert "/home/ada/.local/share/deployctl" in finding.what
    assert told(seen(facts(**USER)), wanted(user_scope=True)) == []


def test_remedies_are_for_the_system_that_it_is_and_say_sudo_where_it_is_needed() -> None:
    def remedy(**changes: object) -> str:
        return one(seen(facts(tools=TOOLS - {"flock", "sha256sum"}, **changes))).remedy

    assert remedy() == "apt-get install coreutils util-linux"
    assert remedy(os="Rocky Linux 9.5") == "dnf install coreutils util-linux"
    assert remedy(os="openSUSE Leap 15.6") == "zypper install coreutils util-linux"
    bare = told(seen(facts(tools=TOOLS - {"flock"}, **USER)), wanted(user_scope=True))
    assert [finding.remedy for finding in bare] == ["sudo apt-get install util-linux"]


def test_what_only_ollama_needs() -> None:
    without = facts(tools=TOOLS - {"zstd"})
    assert one(seen(without)).level == "fail"
    assert told(seen(without), wanted(vllm=VllmSpec())) == []
    vendor = VendorOllama(binary="/usr/local/bin/ollama")
    assert told(seen(facts(tools=TOOLS - {"zstd"}, vendor_ollama=vendor))) == []


def test_python_where_the_embedded_supervisor_needs_it() -> None:
    plain = facts(systemd=False, pythons=())
    findings = {finding.subject: finding for finding in told(seen(plain, systemd_version="", ntp=None))}
    assert findings["python"].level == "fail" and "supervisor" in findings["python"].what
    assert findings["systemd"].level == "warn"
    assert told(seen(facts(pythons=()))) == []
    assert one(seen(facts(pythons=())), wanted(vllm=VllmSpec(runner="venv"))).subject == "python"


def test_docker_missing_stopped_and_forbidden() -> None:
    missing = facts(docker="", docker_problem="docker is not installed", tools=TOOLS - {"docker"})
    assert (one(seen(missing)).level, one(seen(missing), wanted(firm=False)).level) == ("fail", "warn")
    assert "--runner venv" in one(seen(missing)).remedy
    assert told(seen(missing), wanted(ollama=OllamaSpec())) == []
    stopped = facts(docker="", docker_problem="Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
    assert one(seen(stopped), wanted(firm=False)).level == "fail"
    assert "systemctl enable --now docker" in one(seen(stopped)).remedy
    forbidden = facts(docker="", docker_problem="permission denied while trying to connect", **USER)
    finding = one(seen(forbidden), wanted(user_scope=True))
    assert "usermod -aG docker ada" in finding.remedy


@pytest.mark.parametrize(
    ("purpose", "free_gib", "level"),
    [
        ("models", 0.5, "fail"),
        ("models", 5, "warn"),
        ("engines", 0.5, "fail"),
        ("images", 5, "fail"),
        ("images", 20, "warn"),
    ],
)
def test_disks(purpose: str, free_gib: float, level: str) -> None:
    small = Disk(purpose=purpose, path="/data", free=int(free_gib * GIB), total=GIB * 500, writable=True)
    finding = one(seen(disks=(small,)))
    assert (finding.level, finding.subject) == (level, "disk")
    assert f"{free_gib:.1f} GiB free at /data" in finding.what


def test_a_disk_that_cannot_be_written_to_or_seen() -> None:
    frozen = Disk(purpose="models", path="/var/lib", free=GIB * 100, total=GIB * 500, writable=False)
    assert one(seen(disks=(frozen,))).level == "fail"
    unknown = Disk(purpose="models", path="/var/lib", free=None, total=None, writable=True)
    assert one(seen(disks=(unknown,))).level == "warn"


def test_images_need_no_room_where_vllm_does_not_run_in_docker() -> None:
    small = Disk(purpose="images", path="/var/lib/docker", free=GIB, total=GIB * 500, writable=True)
    assert told(seen(disks=(small,)), wanted(ollama=OllamaSpec())) == []


@pytest.mark.parametrize(("available", "level"), [(0.5, "fail"), (2, "warn")])
def test_memory(available: float, level: str) -> None:
    assert one(seen(facts(memory_available=int(available * GIB)))).level == level


def test_a_port_that_is_taken_names_who_has_it() -> None:
    taken = facts(listeners=(Listener(address="*", port=5000),))
    finding = one(seen(taken, holders=(holder(5000, "python3"),)))
    assert (finding.level, finding.subject) == ("fail", "ports")
    assert finding.what == "5000 is taken by python3 (pid 4711), and vLLM is to listen there"
    assert "--port" in finding.remedy
    assert one(seen(taken), wanted(firm=False)).level == "warn"
    assert told(seen(taken), wanted(vllm=VllmSpec(port=5001))) == []


def test_the_vendor_s_ollama_may_have_its_port() -> None:
    vendor = VendorOllama(binary="/usr/local/bin/ollama", unit="/etc/systemd/system/ollama.service", active=True)
    assert told(seen(facts(listeners=(Listener(address="127.0.0.1", port=11434),), vendor_ollama=vendor))) == []


@pytest.mark.parametrize(
    ("exited", "why"),
    [(6, "name cannot be resolved"), (7, "nothing answers"), (28, "within 10 s"), (60, "not trusted"), (92, "HTTP/2")],
)
def test_the_hub_is_out_of_reach(exited: int, why: str) -> None:
    away = seen(sources=(source("hub", 0, exited, "HTTP/2 stream was reset"), source("ollama", 200)))
    finding = one(away)
    assert (finding.level, finding.subject) == ("warn", "hub")
    assert why in finding.what and "pushed from here" in finding.what
    alone = one(away, wanted(reached_from_here=False))
    assert alone.level == "fail" and "nor from this machine" in alone.what and "HF_ENDPOINT" in alone.remedy
    assert "nor from" not in one(away, wanted(reached_from_here=False, local=True)).what


def test_a_mirror_a_proxy_and_a_filter() -> None:
    proxied = seen(sources=(source("hub", 403),), proxies=("https_proxy=http://***@proxy:3128", "no_proxy=.local"))
    want = wanted(hub="https://user:secret@hub.example.org:8443/hf")
    finding = one(proxied, want)
    assert "https://hub.example.org:8443 cannot be reached from the host, through https_proxy=" in finding.what
    assert "answers 403" in finding.what
    assert not any("secret" in f"{item}" or "no_proxy" in f"{item}" for item in check(proxied, want))
    assert told(seen(sources=(source("hub", 401),))) == []


def test_what_is_asked_of_the_network_is_what_would_be_downloaded() -> None:
    assert set(wanted(hub="https://hub.example.org").sources()) == {"hub", "ollama"}
    assert wanted(hub="https://hub.example.org").sources()["hub"] == "https://hub.example.org/"
    assert wanted(vllm=VllmSpec()).sources().keys() == {"hub"}
    assert wanted(ollama=OllamaSpec(archive="./ollama.tar.zst")).sources().keys() == {"hub"}
    local = Spec.model_validate({"model": {"source": "/srv/model.gguf"}, "ollama": {"archive": "/srv/o.tar.zst"}})
    assert wanted().model_copy(update={"spec": local}).sources() == {}


@pytest.mark.parametrize(
    ("skew", "ntp", "level", "says"),
    [
        (400, True, "fail", "400 s ahead"),
        (-400, None, "fail", "400 s behind"),
        (9, True, "warn", "9 s"),
        (0, False, "warn", "nothing keeps"),
    ],
)
def test_the_clock(skew: float, ntp: bool | None, level: str, says: str) -> None:
    finding = one(seen(skew=skew, ntp=ntp))
    assert (finding.level, finding.remedy) == (level, "timedatectl set-ntp true")
    assert says in finding.what


@pytest.mark.parametrize(
    "change", [{"nofile_hard": 1024}, {"overcommit": 2}, {"max_map_count": 1000}], ids=lambda change: next(iter(change))
)
def test_limits(change: dict[str, int]) -> None:
    finding = one(seen(**change))
    assert (finding.level, finding.subject) == ("warn", "limits")
    assert finding.remedy
