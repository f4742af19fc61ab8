"""A local model hub with the three routes that huggingface_hub calls to download a model."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

INFO = re.compile(r"/api/models/([\w.-]+/[\w.-]+)/revision/([\w.-]+)(\?.*)?")
TREE = re.compile(r"/api/models/([\w.-]+/[\w.-]+)/tree/([\w.-]+)(\?.*)?")
FILE = re.compile(r"/([\w.-]+/[\w.-]+)/resolve/([\w.-]+)/(\S+)")
LARGE = (".safetensors", ".bin", ".onnx", ".pth")  # stored by Git LFS, under their SHA-256


@dataclass
class Repo:
    """A model repository with a single commit, to which `main` points."""

    files: dict[str, bytes]
    licence: str = "apache-2.0"
    gated: bool = False
    flipped: bool = False  # send bytes that do not match the listed hashes

    @property
    def commit(self) -> str:
        """A SHA-1 of all files, 40 hex digits."""
        return hashlib.sha1(repr([_oid(*file) for file in sorted(self.files.items())]).encode()).hexdigest()


@dataclass
class Hub:
    """The hub: its URL, its repositories by name, and the paths requested so far (`asked`)."""

    endpoint: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """The status, headers and body of a request, with the hub's error codes for unknown and gated models."""
        self.asked.append(path)
        for pattern, respond in ((INFO, self._info), (TREE, self._tree), (FILE, self._file)):
            if match := pattern.fullmatch(path):
                repo = self.repos.get(match[1])
                if repo is None:
                    return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
                if repo.gated:
                    return 403, {"X-Error-Code": "GatedRepo"}, b"{}"
                if match[2] not in ("main", repo.commit):
                    return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
                return respond(match[1], repo, match)
        return 400, {}, b"{}"

    def _info(self, name: str, repo: Repo, _: Any) -> tuple[int, dict[str, str], bytes]:
        siblings = [
            {"rfilename": path, "size": len(content), "blobId": _oid(path, content), **_lfs(path, content, "sha256")}
            for path, content in repo.files.items()
        ]
        info = {"id": name, "sha": repo.commit, "siblings": siblings, "tags": [], "cardData": {"license": repo.licence}}
        return 200, {}, json.dumps(info).encode()

    def _tree(self, name: str, repo: Repo, _: Any) -> tuple[int, dict[str, str], bytes]:
        entries = [
            {
                "type": "file",
                "path": path,
                "size": len(content),
                "oid": _oid(path, content),
                **_lfs(path, content, "oid"),
            }
            for path, content in repo.files.items()
        ]
        return 200, {}, json.dumps(entries).encode()

    def _file(self, name: str, repo: Repo, match: re.Match[str]) -> tuple[int, dict[str, str], bytes]:
        content = repo.files[match[3]]
        headers = {"X-Repo-Commit": repo.commit, "ETag": f'"{_oid(match[3], content)}"'}
        return 200, headers, content[::-1] if repo.flipped else content


def _oid(path: str, content: bytes) -> str:
    """The git blob id of a file; for a large file, of the LFS pointer that git stores instead."""
    if path.endswith(LARGE):
        content = f"oid sha256:{hashlib.sha256(content).hexdigest()}\n".encode()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _lfs(path: str, content: bytes, key: str) -> dict[str, Any]:
    if not path.endswith(LARGE):
        return {}
    return {"lfs": {key: hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}}


@contextmanager
def hub() -> Iterator[Hub]:
    """Run an empty hub until the end of the block."""
    running = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers, body = running.answer(self.path)
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    running.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
