"""The pyinfra deploy that asserts what `deployctl up` has made; the inventory gives the values (state.py).

Run by pyinfra in its own virtual environment, never imported by the tests.
"""

from pyinfra import host
from pyinfra.facts.docker import DockerContainer, DockerImage
from pyinfra.facts.files import File, Sha256File
from pyinfra.facts.server import Command
from pyinfra.operations import files, server, systemd


def require(holds: bool, what: str) -> None:
    """Fail the host's run unless it holds."""
    if not holds:
        raise ValueError(f"{what} is not as wanted")


for item in host.data.accounts:
    groups = list(item["groups"])
    server.user(
        name=f"account {item['name']}", user=item["name"], home=item["home"], groups=groups, append=True, system=True
    )

for item in host.data.directories:
    named = not item["owner"].isdigit()  # pyinfra's own fact knows no owner that has no name
    files.directory(
        name=f"directory {item['path']}",
        path=item["path"],
        user=item["owner"] if named else None,
        group=item["group"] if named else None,
        mode=item["mode"].lstrip("0"),
    )
    if not named:
        said = host.get_fact(Command, f"stat -c '%u %g %G' {item['path']}").split()
        require(said[0] == item["owner"] and item["group"] in said[1:], item["path"])

for item in host.data.files:
    files.put(
        name=f"file {item['path']}",
        src=item["source"],
        dest=item["path"],
        user=item["owner"],
        group=item["group"],
        mode=item["mode"].lstrip("0"),
    )

for item in host.data.kept:
    files.file(
        name=f"file {item['path']}",
        path=item["path"],
        user=item["owner"],
        group=item["group"],
        mode=item["mode"].lstrip("0"),
    )

for item in host.data.sizes:
    seen = host.get_fact(File, item["path"])
    require(bool(seen) and seen["size"] == item["size"], item["path"])

for item in host.data.digests:
    require(host.get_fact(Sha256File, item["path"]) == item["sha256"], item["path"])

for item in host.data.units:
    systemd.service(name=f"unit {item['name']}", service=item["name"], running=True, enabled=True)

for item in host.data.images:
    require(bool(host.get_fact(DockerImage, item["reference"])), item["reference"])

for item in host.data.containers:
    found = (host.get_fact(DockerContainer, item["name"]) or [{}])[0]
    labels = found.get("Config", {}).get("Labels", {})
    require(
        found.get("State", {}).get("Running") is True
        and found["Config"]["Image"] == item["image"]
        and labels.get("deployctl.fingerprint") == item["fingerprint"],
        item["name"],
    )
