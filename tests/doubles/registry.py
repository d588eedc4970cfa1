"""A Docker registry with one small image: as much of the distribution API (v2) as `docker pull` asks for."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry:
    """Serves ``name:tag`` on a loopback port while it is open; Docker takes loopback registries without TLS."""

    def __init__(self, name: str, tag: str, layer_bytes: int) -> None:
        self.name, self.tag = name, tag
        self._blobs: dict[str, bytes] = {}
        layer = _tar({"payload": bytes(layer_bytes), "hello": b"from the registry\n"})
        packed = self._keep(gzip.compress(layer, 1))
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
        kept = self._keep(json.dumps(config).encode())
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", **kept},
            "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", **packed}],
        }
        self._manifest = json.dumps(manifest).encode()

    def _keep(self, content: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self._blobs[digest] = content
        return {"size": len(content), "digest": digest}

    @property
    def reference(self) -> str:
        """What to pull."""
        return f"127.0.0.1:{self._server.server_address[1]}/{self.name}:{self.tag}"

    def __enter__(self) -> Registry:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body for a path."""
        manifest = f"sha256:{hashlib.sha256(self._manifest).hexdigest()}"
        if path == "/v2/":
            return 200, "application/json", b"{}"
        if path in (f"/v2/{self.name}/manifests/{self.tag}", f"/v2/{self.name}/manifests/{manifest}"):
            return 200, _MANIFEST, self._manifest
        digest = path.removeprefix(f"/v2/{self.name}/blobs/")
        if digest in self._blobs:
            return 200, "application/octet-stream", self._blobs[digest]
        errors = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
        return 404, "application/json", json.dumps(errors).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, kind, body = registry.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Docker-Content-Digest", f"sha256:{hashlib.sha256(body).hexdigest()}")
                self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                return

        return Handler


def _tar(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
