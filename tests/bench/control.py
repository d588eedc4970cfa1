"""`make bench-control`: a run that changes nothing, by deployctl, Ansible and pyinfra, on the same machines in one go.

Needs what `make lab` needs; `--tools` names the virtual environment with requirements/bench.lock. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import tools
from tests.bench.scene import Scene
from tests.bench.state import read_state
from tests.bench.tools import Sample, Tool
from tests.hosts.support import Controller
from tests.lab.lab import Lab, unavailable
from tests.lab.machines import Machine

_CONTESTS = ("ollama", "vllm", "many")
_FILES = {"ollama": "/etc/deployctl/ollama/Modelfile", "vllm": "/etc/deployctl/vllm/container.yaml"}


def main() -> int:
    """Measure and print. Fails when a tool does not find the state as wanted, or does not notice that it is not."""
    options = _options()
    if reason := unavailable():
        sys.stderr.write(f"no lab on this machine: {reason}\n")
        return 1
    lab = Lab()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            folder = Path(name)
            (folder / "home").mkdir()
            scene = Scene(lab, folder, Controller(folder / "home"))
            _say(_about(options.tools))
            _measure(scene, options)
    finally:
        lab.close()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tools", type=Path, required=True, help="virtual environment with Ansible and pyinfra")
    parser.add_argument("--runs", type=int, default=7, help="timed runs of each tool, after one that is not")
    parser.add_argument("--hosts", type=int, default=10, help="machines of the contest `many`")
    parser.add_argument("--contests", nargs="+", choices=_CONTESTS, default=_CONTESTS, help="all by default")
    return parser.parse_args()


def _measure(scene: Scene, options: argparse.Namespace) -> None:
    singles = [name for name in ("ollama", "vllm") if name in options.contests]
    first = scene.add("bench01", engine=True) if singles else None
    for name in singles:
        assert first
        words = scene.ollama() if name == "ollama" else scene.vllm(first)
        _progress(f"deploying {name} to one machine")
        scene.up(words, [first.name])
        with _contest(scene, options.tools, words, [first]) as contest:
            _check_that_each_notices(contest, first, words[0])
            _table(f"`{words[0]}` on one host", contest, [first], options.runs)
    if "many" in options.contests:
        _measure_many(scene, options)


def _measure_many(scene: Scene, options: argparse.Namespace) -> None:
    _progress(f"starting {options.hosts} machines")
    words = scene.ollama()
    many = [scene.add(f"bench{number + 1:02}", engine=False) for number in range(1, options.hosts + 1)]
    scene.up([*words, "--parallel-hosts", "4"], [machine.name for machine in many])
    ones: dict[str, float] = {}
    for machines in (many[:1], many):
        with _contest(scene, options.tools, words, machines) as contest:
            title = f"`{words[0]}` on {len(machines)} host{'s' if len(machines) > 1 else ''} without a Docker Engine"
            medians = _table(title, contest, machines, options.runs)
        if ones:
            _say("\n".join(f"- {name}: {medians[name] / ones[name]:.1f} times one host" for name in medians) + "\n")
        ones = ones or medians


@contextmanager
def _contest(scene: Scene, venv: Path, words: Sequence[str], machines: Sequence[Machine]) -> Iterator[list[Tool]]:
    """The tools, ready to run on these machines, which all look as the first one does."""
    with tempfile.TemporaryDirectory(prefix="contest-", dir=scene.folder) as name:
        folder, hosts = Path(name), [machine.name for machine in machines]
        state, known = read_state(machines[0], words[0], folder), scene.controller.known_hosts
        try:
            yield [
                tools.deployctl(scene.controller, "up", hosts, words),
                tools.deployctl(scene.controller, "plan", hosts, words),
                tools.ansible(venv, folder / "ansible", machines, known, state),
                tools.pyinfra(venv, folder / "pyinfra", machines, known, state),
            ]
        finally:
            tools.close_ansible(folder / "ansible")


def _check_that_each_notices(contest: Sequence[Tool], machine: Machine, name: str) -> None:
    """The same run with another mode of a file: no tool may call that the state as wanted."""
    path = _FILES[name]
    for tool in contest:
        tool.run()
        machine.exec(f"chmod 600 {path}")
        try:
            tool.run()
        except RuntimeError:
            continue
        finally:
            machine.exec(f"chmod 644 {path}")
        raise SystemExit(f"{tool.name} does not notice another mode of {path}")


def _table(title: str, contest: Sequence[Tool], machines: Sequence[Machine], runs: int) -> dict[str, float]:
    """Warm up, count, time the tools in turns, and print. The median seconds of each tool."""
    counted = []
    for tool in contest:
        _progress(f"{title}: {tool.name}")
        tool.run()
        counted.append(tools.sessions(tool, machines))
    samples: list[list[Sample]] = [[] for _ in contest]
    for number in range(runs):
        _progress(f"{title}: round {number + 1} of {runs}")
        for tool, mine in zip(contest, samples, strict=True):
            mine.append(tool.run())
    medians = {
        tool.name: statistics.median(sample.wall_s for sample in mine)
        for tool, mine in zip(contest, samples, strict=True)
    }
    rows = [
        _row(tool, mine, count, medians, len(machines))
        for tool, mine, count in zip(contest, samples, counted, strict=True)
    ]
    columns = ("", "median", "fastest to slowest", "controller's CPU", "to `up`", "to `plan`", "SSH sessions", "logins")
    _say("\n".join((f"### {title}\n", f"| {' | '.join(columns)} |", f"|---{'|---:' * 7}|", *rows, "")))
    return medians


def _row(
    tool: Tool, samples: Sequence[Sample], count: tuple[int, int], medians: dict[str, float], machines: int
) -> str:
    walls = [sample.wall_s for sample in samples]
    cpu = statistics.median(sample.cpu_s for sample in samples)
    mine, up, plan = medians[tool.name], medians["deployctl up"], medians["deployctl plan"]
    cells = [
        tool.name,
        f"{mine:.2f} s",
        f"{min(walls):.2f} to {max(walls):.2f} s",
        f"{cpu:.2f} s",
        f"{mine / up:.1f}x",
        f"{mine / plan:.1f}x",
        *(f"{number / machines:g}" for number in count),
    ]
    return f"| {' | '.join(cells)} |"


def _about(venv: Path) -> str:
    """Date, machine and versions."""
    listing = subprocess.run([f"{venv}/bin/python", "-m", "pip", "freeze"], capture_output=True, text=True, check=True)
    names = "ansible-core|pyinfra"
    versions = ", ".join(line.replace("==", " ") for line in re.findall(rf"^(?:{names})==.*$", listing.stdout, re.M))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{datetime.now(UTC):%Y-%m-%d}; {os.cpu_count()} cores, {memory:.0f} GiB, which the controller and all hosts "
        f"share; Python {platform.python_version()}; {versions}; load average at the start {os.getloadavg()[0]:.1f}\n"
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _progress(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
