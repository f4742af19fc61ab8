"""A steady load of requests through nginx, with the outcome of each."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from PIL import Image

from app.sign_in import COOKIE
from tests.launch.compose import Compose

NAME = "raysift.test"


@dataclass(frozen=True)
class Request:
    """A request: its kind, its begin and end (time.time()), and its outcome: an HTTP status or an error's name."""

    kind: str
    began: float
    ended: float
    outcome: str

    @property
    def failed(self) -> bool:
        """Whether the outcome is anything but 200."""
        return self.outcome != "200"


def client(compose: Compose, timeout: float = 60, key: str | None = None) -> httpx.Client:
    """An HTTP client that trusts nginx's certificate and sends the admin's key, unless another is given."""
    headers = {"Authorization": authorization(compose, key)}
    return httpx.Client(
        base_url=f"https://{NAME}", headers=headers, verify=compose.tls(), timeout=timeout, trust_env=False
    )


def picture(side: int = 64) -> bytes:
    """A JPEG of noise, `side` x `side` pixels."""
    buffer = io.BytesIO()
    Image.effect_noise((side, side), 60).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def authorization(compose: Compose, key: str | None = None) -> str:
    """The value of the Authorization header, with the admin's key unless another is given."""
    return f"Bearer {compose.key if key is None else key}"


def session(compose: Compose) -> str:
    """The Cookie header of a browser that has signed in to the app with the admin's key."""
    with httpx.Client(base_url=f"https://{NAME}", verify=compose.tls(), timeout=60, trust_env=False) as browser:
        signed_in = browser.post("/sign-in", data={"key": compose.key})
        assert signed_in.status_code == 303, signed_in.text
        return f"{COOKIE}={browser.cookies[COOKIE]}"


class Traffic:
    """GETs and uploads from several threads; `requests` collects their outcomes."""

    gets = ("/v1/health", "/v1/assets?size=1", "/v1/jobs?limit=1")

    def __init__(self, compose: Compose) -> None:
        self.compose = compose
        self.requests: list[Request] = []
        self._over = threading.Event()

    @contextmanager
    def flowing(self, readers: int = 3, uploaders: int = 2) -> Iterator["Traffic"]:
        """Send requests until the end of the block, which waits for requests in flight."""
        threads = [threading.Thread(target=self._read, args=(path,)) for path in self.gets[:readers]]
        threads += [threading.Thread(target=self._upload) for _ in range(uploaders)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in threads:
                thread.join(120)

    def _read(self, path: str) -> None:
        with client(self.compose) as api:
            while not self._over.wait(0.1):
                self._record(f"GET {path}", lambda: api.get(path))

    def _upload(self) -> None:
        file = picture()
        with client(self.compose) as api:
            while not self._over.wait(0.2):
                self._record("upload", lambda: api.post("/v1/detect/nsfw", files={"file": ("a.jpg", file)}))

    def _record(self, kind: str, send: Callable[[], httpx.Response]) -> None:
        began = time.time()
        try:
            outcome = str(send().status_code)
        except httpx.TransportError as error:
            outcome = type(error).__name__
        self.requests.append(Request(kind, began, time.time(), outcome))

    def answered_since(self, when: float, kind: str) -> list[Request]:
        """The successful requests whose kind starts with `kind` and that began after `when`."""
        return [
            request
            for request in self.requests
            if request.began > when and request.kind.startswith(kind) and not request.failed
        ]

    def summary(self, killed: float) -> str:
        """A summary for the test's output: counts, failures with their times relative to `killed`, worst latency."""
        gets, uploads = (
            [request for request in self.requests if request.kind.startswith(kind)] for kind in ("GET", "upload")
        )

        def describe(requests: list[Request]) -> str:
            failed = [
                f"{request.kind} {request.outcome} {request.began - killed:+.1f}..{request.ended - killed:+.1f} s"
                for request in requests
                if request.failed
            ]
            slowest = max((request.ended - request.began for request in requests), default=0)
            return f"{len(requests)}, {len(failed)} failed {failed}, the slowest took {slowest:.1f} s"

        return f"GETs: {describe(gets)}; uploads: {describe(uploads)}"
