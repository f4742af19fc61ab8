"""People who keep asking through nginx, and what became of each thing that they asked."""

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
class DetectorResponse:
    """One request: what, from when to when (time.time), and how it ended: a status, or the name of an error."""

    what: str
    began: float
    ended: float
    outcome: str

    @property
    def failed(self) -> bool:
        return self.outcome != "200"


def client(compose: Compose, timeout: float = 60, password: str | None = None) -> httpx.Client:
    """Somebody who has been given the password."""
    auth = ("raysift", compose.password if password is None else password)
    return httpx.Client(
        base_url=f"https://{NAME}", auth=auth, verify=compose.tls(), timeout=timeout, trust_env=False
    )  # fmt: skip


def picture(side: int = 64) -> bytes:
    """A small JPEG."""
    held = io.BytesIO()
    Image.effect_noise((side, side), 60).convert("RGB").save(held, "JPEG")
    return held.getvalue()


def authorization(compose: Compose) -> str:
    return "Basic " + base64.b64encode(f"raysift:{compose.password}".encode()).decode()


class Traffic:
    """GETs and uploads, at a steady pace, until the block ends."""

    gets = ("/v1/health", "/v1/assets?size=1", "/v1/jobs?limit=1")

    def __init__(self, compose: Compose) -> None:
        self.compose = compose
        self.asked: list[DetectorResponse] = []
        self._over = threading.Event()

    @contextmanager
    def flowing(self, readers: int = 3, uploaders: int = 2) -> Iterator["Traffic"]:
        """All is asked for in full before the block is left: none is cut off."""
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
        self.asked.append(DetectorResponse(what, began, time.time(), outcome))

    def answered_since(self, when: float, what: str) -> list[DetectorResponse]:
        """Those that were asked after that moment, and answered."""
        return [one for one in self.asked if one.began > when and one.what.startswith(what) and not one.failed]

    def told(self, killed: float) -> str:
        """The figures."""
        gets, uploads = ([one for one in self.asked if one.what.startswith(what)] for what in ("GET", "upload"))

        def of(some: list[DetectorResponse]) -> str:
            failed = [f"{one.what} {one.outcome} {one.began - killed:+.1f}..{one.ended - killed:+.1f} s" for one in some
                      if one.failed]  # fmt: skip
            slowest = max((one.ended - one.began for one in some), default=0)
            return f"{len(some)}, {len(failed)} failed {failed}, the slowest took {slowest:.1f} s"

        return f"GETs: {of(gets)}; uploads: {of(uploads)}"
