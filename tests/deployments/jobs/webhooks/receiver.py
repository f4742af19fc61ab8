"""A receiver of webhooks that checks signatures by the scheme's own words, and answers as it is told."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.servers.http import running

SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four.").decode()


class Receiver(ThreadingHTTPServer):
    """`answers`: the statuses of the next requests, then 204. `taken`: what it answered with 2xx, with its id."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[int] = []
        self.always: int = 204
        self.attempts: list[str] = []  # the ids of all requests
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.handled = threading.Event()  # set after each request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        id, at = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        key = base64.b64decode(SECRET.split("_")[1])
        digest = hmac.new(key, f"{id}.{at}.".encode() + body, hashlib.sha256).digest()
        is_signed = f"v1,{base64.b64encode(digest).decode()}" in self.headers["webhook-signature"].split(" ")
        assert self.headers["content-type"] == "application/json"
        self.server.attempts.append(id)
        status = self.server.answers.pop(0) if self.server.answers else self.server.always
        if not is_signed or abs(time.time() - int(at)) > 60:
            status = 401
        if 200 <= status < 300:
            self.server.taken.append((id, json.loads(body)))
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("location", f"{self.server.url}/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()
        self.server.handled.set()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that runs until the end of the block."""
    with running(Receiver()) as server:
        yield server
