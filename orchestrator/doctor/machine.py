"""The machine itself: root, programs, Docker, memory, disks, limits, clock."""

from orchestrator.doctor.finding import Finding, as_root, fail, gib, install, ok, warn
from orchestrator.doctor.wanted import Wanted
from orchestrator.errors import RefusedError
from orchestrator.facts import Facts
from orchestrator.facts.examine import Disk, Examination
from orchestrator.runtimes.common import python_for

_GIB = 1 << 30
_NEEDED = ("curl", "tar", "sha256sum", "base64", "flock", "timeout")
_PACKAGES = {"sha256sum": "coreutils", "base64": "coreutils", "timeout": "coreutils", "flock": "util-linux"}

_ROOM = {
    "models": (1, 12, "models", "the worked example's model takes 9 GiB"),
    "engines": (1, 6, "engines", "Ollama takes 4 GiB"),
    "data": (1, 16, "models and engines", "the worked example's model takes 9 GiB, Ollama 4"),
    "images": (12, 35, "images", "vLLM's image takes 10 GiB to download and 30 unpacked"),
}
"""GiB below which it cannot work, and below which it soon may not; what for, and why."""

_CPU_IMAGE = (4, 8, "images", "vLLM's image for CPUs takes 4 GiB")
_FILES, _MAPS = 4096, 65530
_SKEW_S, _WRONG_S = 5, 300


def system_findings(seen: Examination, wanted: Wanted) -> list[Finding]:
    """What it is, who we are there, what keeps engines alive, and which programs there are."""
    facts = seen.facts
    told = f"{facts.os or 'Linux'}, {facts.arch}, {facts.cpus} CPUs, kernel {seen.kernel}"
    return [ok("system", told), _root(seen, wanted), _supervisor(seen), *_python(facts, wanted), *_tools(facts, wanted)]


def _root(seen: Examination, wanted: Wanted) -> Finding:
    facts = seen.facts
    if facts.root:
        return ok("root", f"by sudo, as {seen.sudo_from}" if seen.sudo_from else "yes")
    told = f"no: {facts.user} deploys into directories of their own ({facts.layout.data})"
    if wanted.user_scope:
        return ok("root", told)
    return warn("root", told, "--ask-sudo-password, a login as root, or --user to agree")


def _supervisor(seen: Examination) -> Finding:
    if seen.facts.systemd:
        return ok("systemd", seen.systemd_version or "yes")
    why = "it is root's" if seen.systemd_version else "it does not run here"
    told = f"{why}: engines outside Docker are kept up by the embedded supervisor, which a reboot ends"
    if seen.systemd_version:
        return ok("systemd", told)
    return warn("systemd", told, "run `deployctl up` again after a reboot")


def _python(facts: Facts, wanted: Wanted) -> list[Finding]:
    """Python, where something of ours needs it there: a virtual environment of vLLM, or the embedded supervisor."""
    section = wanted.spec.vllm
    venv = section is not None and section.runner == "venv"
    supervised = not facts.systemd and (venv or wanted.spec.ollama is not None)
    found = []
    if section is not None and venv:
        found.append(_one_python(facts, wanted, "vLLM", (3, 10), (3, 13), section.python))
        if "libnuma.so.1" in facts.lacks and not facts.gpus:
            lacks = "libnuma.so.1 is missing, without which vLLM's CPU build cannot be loaded"
            remedy = install(facts, ["libnuma1"])
            found.append(Finding(level=wanted.lack, subject="python", what=lacks, remedy=remedy))
    elif supervised:
        found.append(_one_python(facts, wanted, "the embedded supervisor", (3, 8), (3, 99), "python3"))
    return found


def _one_python(
    facts: Facts, wanted: Wanted, purpose: str, least: tuple[int, int], most: tuple[int, int], name: str
) -> Finding:
    try:
        return ok("python", f"{python_for(facts, least, name, most)}, for {purpose}")
    except RefusedError as error:
        what = f"{error.what}, which {purpose} needs"
        remedy = install(facts, ["python3-venv"]) if "python3-venv" in error.remedy else error.remedy
        return Finding(level=wanted.lack, subject="python", what=what, remedy=remedy or install(facts, ["python3"]))


def _tools(facts: Facts, wanted: Wanted) -> list[Finding]:
    missing = [tool for tool in _NEEDED if tool not in facts.tools]
    found = []
    if missing:
        packages = sorted({_PACKAGES.get(tool, tool) for tool in missing})
        found.append(fail("programs", f"missing: {', '.join(missing)}", install(facts, packages)))
    else:
        found.append(ok("programs", f"{', '.join(_NEEDED)} are there"))
    if wanted.spec.ollama is not None and facts.vendor_ollama is None and "zstd" not in facts.tools:
        what = "zstd is missing, which unpacks Ollama"
        found.append(Finding(level=wanted.lack, subject="programs", what=what, remedy=install(facts, ["zstd"])))
    if facts.vendor_ollama is not None and wanted.spec.ollama is not None:
        found.append(ok("ollama", f"the vendor's is there and will be used: {facts.vendor_ollama.binary}"))
    return found


def docker_findings(seen: Examination, wanted: Wanted) -> list[Finding]:
    """Docker, where vLLM is to run in it."""
    facts = seen.facts
    if wanted.containers is None:
        return []
    if facts.docker:
        told = f"{facts.docker}, cgroup driver {seen.cgroup_driver or 'unknown'}, cgroup v{seen.cgroup_version or '?'}"
        return [ok("docker", told + (f", at {seen.docker_host}" if seen.docker_host else ""))]
    if "docker" not in facts.tools:
        remedy = f"{install(facts, ['docker.io'])}, or vLLM without Docker: --runner venv"
        what = "not installed: vLLM cannot run in a container here"
        return [Finding(level=wanted.lack, subject="docker", what=what, remedy=remedy)]
    if "permission denied" in facts.docker_problem:
        remedy = f"sudo usermod -aG docker {facts.user}, then log in again; or deploy as root"
    elif seen.systemd_version:
        remedy = as_root(facts, "systemctl enable --now docker; journalctl -u docker says why it does not run")
    else:
        remedy = as_root(facts, "service docker start")
    return [fail("docker", f"installed, but not to be reached: {facts.docker_problem}", remedy)]


def room_findings(seen: Examination, wanted: Wanted) -> list[Finding]:
    """Main memory and disks."""
    facts = seen.facts
    told = f"{gib(facts.memory_available)} of {gib(facts.memory_total)} available"
    if facts.memory_available < _GIB:
        found = [fail("memory", told, "end what you can do without: an engine alone takes more than 1 GiB")]
    elif facts.memory_available < 4 * _GIB:
        found = [warn("memory", told, "enough for a small model only, unless a GPU holds it")]
    else:
        found = [ok("memory", told)]
    needed = [disk for disk in seen.disks if disk.purpose != "images" or wanted.containers is not None]
    return found + [_disk(disk, seen, wanted) for disk in needed]


def _disk(disk: Disk, seen: Examination, wanted: Wanted) -> Finding:
    least, fair, purpose, why = _ROOM.get(disk.purpose, _ROOM["data"])
    on_cpu = not seen.facts.gpus or (wanted.containers is not None and wanted.containers.device == "cpu")
    if disk.purpose == "images" and on_cpu:
        least, fair, purpose, why = _CPU_IMAGE
    if disk.free is None:
        return warn("disk", f"nobody can tell what is free at {disk.path}, for {purpose}", f"df {disk.path}")
    told = f"{gib(disk.free)} free at {disk.path}, for {purpose}"
    if not disk.writable and disk.purpose != "images":
        return fail("disk", f"{disk.path} cannot be written to, for {purpose}", f"ls -ld {disk.path}; mount")
    if disk.free < least * _GIB:
        level = "fail" if disk.purpose != "images" else wanted.lack
        return Finding(level=level, subject="disk", what=f"{told}: too little, {why}", remedy=_make_room(disk))
    return ok("disk", told) if disk.free >= fair * _GIB else warn("disk", f"{told}: {why}", _make_room(disk))


def _make_room(disk: Disk) -> str:
    if disk.purpose == "images":
        return "docker system prune, or move Docker's data-root to a larger disk"
    return f"du -xsh {disk.path}/* | sort -h says what takes it; or put a larger disk there"


def limit_findings(seen: Examination) -> list[Finding]:
    """What the kernel allows a program."""
    facts, found = seen.facts, []
    if seen.nofile_hard is not None and seen.nofile_hard < _FILES:
        what = f"a program may open {seen.nofile_hard} files: many parallel requests need more"
        found.append(warn("limits", what, "raise nofile in /etc/security/limits.conf, then log in again"))
    if seen.overcommit == 2:
        remedy = as_root(facts, "sysctl vm.overcommit_memory=0")
        found.append(warn("limits", "vm.overcommit_memory is 2: engines reserve more than they use, and fail", remedy))
    if 0 < seen.max_map_count < _MAPS:
        remedy = as_root(facts, f"sysctl vm.max_map_count={_MAPS}")
        found.append(warn("limits", f"vm.max_map_count is {seen.max_map_count}, less than usual", remedy))
    if found:
        return found
    files = "any number of" if seen.nofile_hard is None else f"{seen.nofile_hard}"
    locked = "all" if seen.memlock_kib is None else f"{seen.memlock_kib} KiB"
    return [ok("limits", f"{files} open files, {locked} locked memory, overcommit {seen.overcommit}")]


def clock_findings(seen: Examination) -> list[Finding]:
    """A wrong clock breaks TLS, tokens and every comparison of times."""
    set_it = as_root(seen.facts, "timedatectl set-ntp true" if seen.systemd_version else "date --set …")
    told = f"{abs(seen.skew):.0f} s {'ahead of' if seen.skew > 0 else 'behind'} this machine's"
    if abs(seen.skew) > _WRONG_S:
        return [fail("clock", f"{told}: certificates and tokens would not hold", set_it)]
    if abs(seen.skew) > _SKEW_S:
        return [warn("clock", told, set_it)]
    if seen.ntp is False:
        return [warn("clock", "right now, but nothing keeps it so", set_it)]
    return [ok("clock", "as this machine's" if seen.ntp is None else "right, and synchronized")]
