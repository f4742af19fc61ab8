"""A steady load of requests through nginx, with the outcome of each."""

import base64
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from PIL import Image

from tests.launch.compose import Compose

NAME = "raysift.test"


@dataclass(frozen=True)
class Request:
    """A request: what it was, its begin and end (time.time()), and its outcome: an HTTP status or an error's name."""

    what: str
    began: float
    ended: float
    outcome: str

    @property
    def failed(self) -> bool:
        """Whether the outcome is anything but 200."""
        return self.outcome != "200"


def client(compose: Compose, timeout: float = 60, password: str | None = None) -> httpx.Client:
    """An HTTP client that trusts nginx's certificate and logs in, with the right password unless another is given."""
    auth = ("raysift", compose.password if password is None else password)
    return httpx.Client(
        base_url=f"https://{NAME}", auth=auth, verify=compose.tls(), timeout=timeout, trust_env=False
    )  # fmt: skip


def picture(side: int = 64) -> bytes:
    """A JPEG of noise, `side` x `side` pixels."""
    buffer = io.BytesIO()
    Image.effect_noise((side, side), 60).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def authorization(compose: Compose) -> str:
    """The value of the Authorization header."""
    return "Basic " + base64.b64encode(f"raysift:{compose.password}".encode()).decode()


class Traffic:
    """GETs and uploads from several threads; `asked` collects their outcomes."""

    gets = ("/v1/health", "/v1/assets?size=1", "/v1/jobs?limit=1")

    def __init__(self, compose: Compose) -> None:
        self.compose = compose
        self.asked: list[Request] = []
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
        with client(self.compose) as people:
            while not self._over.wait(0.1):
                self._note(f"GET {path}", lambda: people.get(path))

    def _upload(self) -> None:
        file = picture()
        with client(self.compose) as people:
            while not self._over.wait(0.2):
                self._note("upload", lambda: people.post("/v1/detect/nsfw", files={"file": ("a.jpg", file)}))

    def _note(self, what: str, ask: object) -> None:
        began = time.time()
        try:
            outcome = str(ask().status_code)  # type: ignore[operator]
        except httpx.TransportError as error:
            outcome = type(error).__name__
        self.asked.append(Request(what, began, time.time(), outcome))

    def answered_since(self, when: float, what: str) -> list[Request]:
        """The successful requests of a kind that began after that time."""
        return [
            request
            for request in self.asked
            if request.began > when and request.what.startswith(what) and not request.failed
        ]

    def told(self, killed: float) -> str:
        """A summary for the test's output: counts, failures with their times relative to `killed`, worst latency."""
        gets, uploads = (
            [request for request in self.asked if request.what.startswith(what)] for what in ("GET", "upload")
        )

        def summary(requests: list[Request]) -> str:
            failed = [
                f"{request.what} {request.outcome} {request.began - killed:+.1f}..{request.ended - killed:+.1f} s"
                for request in requests
                if request.failed
            ]
            slowest = max((request.ended - request.began for request in requests), default=0)
            return f"{len(requests)}, {len(failed)} failed {failed}, the slowest took {slowest:.1f} s"

        return f"GETs: {summary(gets)}; uploads: {summary(uploads)}"
