"""A Docker image of 40 MB in the shape of vLLM's official one, as a `docker save`: Python, and the fake server."""

from __future__ import annotations

from pathlib import Path

from tests.lab import cache, images
from tests.lab.shell import docker, pipe

TAG = f"{images.PREFIX}/fake-vllm:v{images.VLLM_VERSION}"
_PROGRAM = Path(__file__).with_name("fake_vllm_server.py")
# Python, its library and what the loader says that it needs, out of the machines' own image
_COLLECT = r"""
set -eu
mkdir -p /x/tmp /x/etc; python=$(readlink -f /usr/bin/python3); library=/usr/lib/${python##*/}
cp -L --parents $(ldd "$python" | grep -o '/[^ ]*') "$python" /x
cp -r --parents "$library" /x
cd "/x$library" && rm -rf test lib2to3 ensurepip idlelib tkinter pydoc_data config-* && cd /
{ printf '#!%s\n' "$python"; printf '%s' "$1"; } > /x/usr/bin/vllm; chmod 755 /x/usr/bin/vllm
echo root:x:0:0::/:/bin/false > /x/etc/passwd
tar -C /x -c .
"""


def archive() -> Path:
    """The archive, in the cache folder; made when missing (seconds)."""
    host, program = images.host_image(), _PROGRAM.read_text()
    path = cache.folder() / f"fake-vllm-{cache.key([host, _COLLECT, program, TAG])}.docker.tar"
    with cache.locked("fake-vllm"):
        if not path.exists():
            entry = ("-c", 'ENTRYPOINT ["vllm","serve"]', "-c", "ENV PATH=/usr/bin")
            pipe(
                ["docker", "run", "--rm", host, "sh", "-c", _COLLECT, "sh", program],
                ["docker", "import", *entry, "-", TAG],
            )
            partial = path.with_suffix(".partial")
            docker("save", "-o", partial, TAG)
            docker("rmi", TAG)
            partial.rename(path)
    return path
