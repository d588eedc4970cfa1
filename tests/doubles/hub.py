"""A Hugging Face Hub on a loopback port: the real routes, headers and error codes, and faults on demand.

Routes and headers follow huggingface_hub's own use of them. Reached with ``HF_ENDPOINT``, as a mirror is.
"""

import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

LFS_SUFFIXES = (".safetensors", ".gguf", ".bin")
COMMIT_HEADER, CODE_HEADER, MESSAGE_HEADER = "X-Repo-Commit", "X-Error-Code", "X-Error-Message"


@dataclass
class Record:
    """One request as it came and what it got. ``sent`` counts bytes of the body."""

    method: str
    path: str
    range: str
    authorization: str
    encoding: str = ""
    status: int = 0
    sent: int = 0

    @property
    def is_download(self) -> bool:
        """Whether it asks for a file's content."""
        return self.method == "GET" and ("/resolve/" in self.path or self.path.startswith("/__cdn/"))

    @property
    def to_the_end(self) -> bool:
        """Whether it asks for all that follows, as what keeps a file does; a header is read in parts with two ends."""
        return re.fullmatch(r"bytes=\d+-\d+", self.range) is None


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests whose path holds ``path`` (and whose method is ``method``).

    ``status`` (with ``retry_after``, a string) answers that; ``cut_after`` closes the connection after so many bytes;
    ``wait_after`` holds the body there until ``go_on`` is set; ``flip`` changes the byte at that offset of the file;
    ``ignore_range`` answers 200 from the beginning; ``shift`` starts so many bytes later than asked, and says so;
    ``extra`` appends so many bytes to a body without a length. ``to_the_end`` spares what only reads a header.
    """

    path: str = ""
    method: str = "GET"
    times: int = 1
    status: int = 0
    retry_after: str = ""
    cut_after: int | None = None
    wait_after: int | None = None
    go_on: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)
    flip: int | None = None
    ignore_range: bool = False
    shift: int = 0
    extra: int = 0
    to_the_end: bool = False


@dataclass(frozen=True)
class Sparse:
    """The content of a large file: a beginning, and nothing but zeros after it, which nobody keeps in memory."""

    head: bytes
    size: int

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self.size)
        found = self.head[start:stop]
        return found + bytes(max(0, stop - start) - len(found))


@dataclass
class Entry:
    """One file of a repository."""

    content: bytes | Sparse
    lfs: bool
    lie: str = ""  # a sha256 that is not its own

    @property
    def sha256(self) -> str:
        return self.lie or hashlib.sha256(self._content).hexdigest()

    @property
    def _content(self) -> bytes:
        """What its name is made of."""
        return self.content if isinstance(self.content, bytes) else self.content.head

    @property
    def git_sha1(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self._content).hexdigest()

    @property
    def oid(self) -> str:
        if not self.lfs:
            return self.git_sha1
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.content)}\n"
        return hashlib.sha1(b"blob %d\0" % len(pointer) + pointer.encode()).hexdigest()


@dataclass
class Repo:
    """A model repository with one commit."""

    files: dict[str, Entry]
    gated: bool = False
    private: bool = False

    @property
    def commit(self) -> str:
        listing = json.dumps(sorted((path, entry.oid) for path, entry in self.files.items()))
        return hashlib.sha1(listing.encode()).hexdigest()


class FakeHub:
    """Serves repositories from memory while it is entered. ``token`` opens private and gated ones.

    With ``cdn=True`` large files are redirected to a second server on another port, as the real Hub does.
    """

    def __init__(self, bind: str = "127.0.0.1", token: str = "hf_test", *, cdn: bool = False) -> None:
        self.token = token
        self.records: list[Record] = []
        self._repos: dict[str, Repo] = {}
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = _Server((bind, 0), self)
        self._cdn = _Server((bind, 0), self) if cdn else None
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is set to."""
        return self._server.url

    @property
    def cdn_url(self) -> str:
        return self._cdn.url if self._cdn else ""

    def add_repo(
        self, name: str, files: Mapping[str, bytes | Path | Sparse], *, gated: bool = False, private: bool = False
    ) -> Repo:
        """Publish a repository, or replace it; files ending like weights are LFS files."""
        entries = {
            path: Entry(content.read_bytes() if isinstance(content, Path) else content, path.endswith(LFS_SUFFIXES))
            for path, content in files.items()
        }
        self._repos[name] = Repo(entries, gated, private)
        return self._repos[name]

    def add_fault(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def downloads(self, path: str = "", *, to_the_end: bool = False) -> list[Record]:
        """GETs of file contents whose path holds ``path``, in order; of headers only, too, unless ``to_the_end``."""
        with self._lock:
            found = [record for record in self.records if record.is_download and path in record.path]
        return [record for record in found if record.to_the_end or not to_the_end]

    def __enter__(self) -> Self:
        for server in filter(None, (self._server, self._cdn)):
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fault in self._faults:
            fault.go_on.set()
        for server in filter(None, (self._server, self._cdn)):
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()

    def repo(self, name: str) -> Repo | None:
        return self._repos.get(name)

    def record(self, record: Record) -> None:
        with self._lock:
            self.records.append(record)

    def take_fault(self, record: Record) -> Fault:
        with self._lock:
            for fault in self._faults:
                meant = fault.method == record.method and fault.path in record.path
                if fault.times > 0 and meant and (record.to_the_end or not fault.to_the_end):
                    fault.times -= 1
                    return fault
        return Fault()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], hub: FakeHub) -> None:
        super().__init__(address, _Handler)
        self.hub = hub

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.server_address)

    def handle_error(self, request: Any, client_address: Any) -> None: ...  # a client that goes away is no news


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    _GET: tuple[tuple[str, str], ...] = (
        (r"/api/models/([^/]+/[^/]+)", "_info"),
        (r"/api/models/([^/]+/[^/]+)/revision/(.+)", "_info"),
        (r"/api/models/([^/]+/[^/]+)/tree/([^/]+)(?:/(.*))?", "_tree"),
        (r"/api/models/([^/]+/[^/]+)/refs", "_refs"),
        (r"/api/whoami-v2", "_whoami"),
        (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", "_resolve"),
        (r"/__cdn/([^/]+/[^/]+)/(.+)", "_from_cdn"),
    )
    _POST = ((r"/api/models/([^/]+/[^/]+)/paths-info/([^/]+)", "_paths_info"),)

    def log_message(self, format: str, *args: object) -> None: ...  # the records are the log

    def do_GET(self) -> None:
        self._route(self._GET)

    def do_HEAD(self) -> None:
        self._route(self._GET)

    def do_POST(self) -> None:
        self._body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._route(self._POST)

    def _route(self, routes: tuple[tuple[str, str], ...]) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        self._query = parse_qs(parts.query)
        asked, authorization = self.headers.get("Range", ""), self.headers.get("Authorization", "")
        encoding = self.headers.get("Accept-Encoding", "")
        self._record = Record(self.command, path, asked, authorization, encoding)
        self.server.hub.record(self._record)
        self._fault = self.server.hub.take_fault(self._record)
        if self._fault.status:
            extra = {"Retry-After": self._fault.retry_after} if self._fault.retry_after else {}
            self._json({"error": "injected"}, self._fault.status, extra)
            return
        for pattern, method in routes:
            if match := re.fullmatch(pattern, path):
                handler: Callable[..., None] = getattr(self, method)
                handler(*match.groups())
                return
        self._error(404, "", f"no route {path}")

    def _json(self, value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self._head(status, {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})})
        if self.command != "HEAD":
            self._write(body)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self._record.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _write(self, data: bytes) -> None:
        self.wfile.write(data)
        self._record.sent += len(data)

    def _error(self, status: int, code: str, message: str, **headers: str) -> None:
        extra = {MESSAGE_HEADER: message, **headers} | ({CODE_HEADER: code} if code else {})
        self._json({"error": message}, status, extra)

    def _authorized(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.server.hub.token}"

    def _open(self, name: str, revision: str | None = None) -> Repo | None:
        """The repository, if it may be seen at that revision; otherwise the error is answered."""
        repo = self.server.hub.repo(name)
        if repo is None or (repo.private and not self._authorized()):
            self._error(404 if self._authorized() else 401, "RepoNotFound", "Repository not found")
            return None
        if revision not in (None, "main", repo.commit):
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repo

    def _info(self, name: str, revision: str | None = None) -> None:
        if repo := self._open(name, revision):
            siblings = [self._sibling(path, entry) for path, entry in sorted(repo.files.items())]
            self._json(
                {
                    "_id": "0",
                    "id": name,
                    "modelId": name,
                    "sha": repo.commit,
                    "private": repo.private,
                    "gated": "auto" if repo.gated else False,
                    "disabled": False,
                    "tags": [],
                    "siblings": siblings,
                    "lastModified": "2026-01-01T00:00:00.000Z",
                    "createdAt": "2026-01-01T00:00:00.000Z",
                }
            )

    def _sibling(self, path: str, entry: Entry) -> dict[str, Any]:
        sibling: dict[str, Any] = {"rfilename": path}
        if "blobs" in self._query:
            sibling |= {"size": len(entry.content), "blobId": entry.oid}
            if entry.lfs:
                sibling["lfs"] = {"size": len(entry.content), "sha256": entry.sha256, "pointerSize": 134}
        return sibling

    def _node(self, path: str, entry: Entry) -> dict[str, Any]:
        node: dict[str, Any] = {"type": "file", "path": path, "size": len(entry.content), "oid": entry.oid}
        if entry.lfs:
            node["lfs"] = {"oid": entry.sha256, "size": len(entry.content), "pointerSize": 134}
        return node

    def _tree(self, name: str, revision: str, under: str | None) -> None:
        if repo := self._open(name, revision):
            prefix = f"{under}/" if under else ""
            deep = self._query.get("recursive", ["false"])[0].lower() in ("true", "1")
            nodes: dict[str, dict[str, Any]] = {}
            for path, entry in sorted(repo.files.items()):
                if not path.startswith(prefix):
                    continue
                parts = path[len(prefix) :].split("/")
                for depth in range(1, len(parts) if deep else min(2, len(parts))):
                    folder = prefix + "/".join(parts[:depth])
                    nodes[folder] = {"type": "directory", "path": folder, "size": 0, "oid": "0" * 40}
                if deep or len(parts) == 1:
                    nodes[path] = self._node(path, entry)
            self._json(list(nodes.values()))

    def _paths_info(self, name: str, revision: str) -> None:
        if repo := self._open(name, revision):
            form = "json" not in self.headers.get("Content-Type", "")
            asked = parse_qs(self._body.decode()) if form else json.loads(self._body)
            paths = [path for path in asked.get("paths", []) if path in repo.files]
            self._json([self._node(path, repo.files[path]) for path in paths])

    def _refs(self, name: str) -> None:
        if repo := self._open(name):
            branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.commit}
            self._json({"branches": [branch], "tags": [], "converts": []})

    def _whoami(self) -> None:
        if self._authorized():
            self._json({"type": "user", "name": "tester", "auth": {"accessToken": {"role": "read"}}})
        else:
            self._error(401, "", "Invalid credentials in Authorization header")

    def _resolve(self, name: str, revision: str, path: str) -> None:
        repo = self._open(name, revision)
        if repo is None:
            return
        if repo.gated and not self._authorized():
            status = 403 if self.headers.get("Authorization") else 401
            self._error(status, "GatedRepo", f"Access to model {name} is restricted.")
            return
        entry = repo.files.get(path)
        if entry is None:
            self._error(404, "EntryNotFound", "Entry not found", **{COMMIT_HEADER: repo.commit})
            return
        headers = {COMMIT_HEADER: repo.commit, "ETag": f'"{entry.sha256 if entry.lfs else entry.oid}"'}
        if entry.lfs:
            headers |= {"X-Linked-Size": str(len(entry.content)), "X-Linked-Etag": f'"{entry.sha256}"'}
            if self.server.hub.cdn_url:
                place = f"{self.server.hub.cdn_url}/__cdn/{name}/{path}"
                self._head(302, {**headers, "Location": place, "Content-Length": "0"})
                return
        self._file(entry.content, headers)

    def _from_cdn(self, name: str, path: str) -> None:
        repo = self.server.hub.repo(name)
        assert repo is not None
        self._file(repo.files[path].content, {"ETag": '"of-the-store"'})

    def _file(self, content: bytes | Sparse, headers: dict[str, str]) -> None:
        fault, size, start, stop, status = self._fault, len(content), 0, len(content), 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self._record.range)
        if asked and not fault.ignore_range:
            start, status = int(asked[1]) + fault.shift, 206
            stop = min(size, int(asked[2]) + 1 + fault.shift) if asked[2] else size
            if start >= size:
                self._json({"error": "range"}, 416, {"Content-Range": f"bytes */{size}"})
                return
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        if fault.flip is not None:
            content = (
                content[: fault.flip]
                + bytes([content[fault.flip : fault.flip + 1][0] ^ 255])
                + content[fault.flip + 1 :]
            )
        body = content[start:stop] + b"x" * fault.extra
        headers |= {"Connection": "close"} if fault.extra else {"Content-Length": str(len(body))}
        self._head(status, {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **headers})
        if self.command != "HEAD":
            self._send(body, fault)

    def _send(self, body: bytes, fault: Fault) -> None:
        limit = len(body) if fault.cut_after is None else fault.cut_after
        if fault.wait_after is not None:
            self._write(body[: fault.wait_after])
            fault.reached.set()
            fault.go_on.wait()
            body, limit = body[fault.wait_after :], limit - fault.wait_after
        for begin in range(0, limit, 65536):
            self._write(body[begin : min(begin + 65536, limit)])
        if fault.cut_after is not None or fault.extra:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            self.close_connection = True
