"""The users of a soak: each is a thread that asks the API one thing after the other, as people and programs do."""

import io
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bench.pressure import picture
from bench.soak.figures import Requests
from cluster.records import OVER
from cluster.settings import Settings
from commands.terminal import authorization

IMAGES = 40  # of a scan
ANSWER_S = 60.0
# between two requests: the load is that of a few users, not the most that the machine can do
BROWSE_S, SEARCH_S, UPLOAD_S, STATUS_S = 0.25, 1.0, 1.0, 1.0
WORDS = ("a red ball", "sky over water", "a person at a gate", "green noise")


class User:
    """A client of the API that counts what it asks, until the soak is over."""

    def __init__(self, settings: Settings, requests: Requests, home: Path, over: threading.Event) -> None:
        self.settings, self.requests, self.home, self.over = settings, requests, home, over
        headers = authorization(settings)
        self._client = httpx.Client(base_url=settings.api.url, headers=headers, timeout=ANSWER_S, trust_env=False)

    def ask(self, route: str, path: str | None = None, **options: Any) -> Any:
        """The answer to a request, JSON or bytes; None if it failed. `route`: METHOD and path, as it is counted."""
        method, declared = route.split()
        began, failure, answer = time.monotonic(), None, None
        try:
            answer = self._client.request(method, path or declared, **options)
            failure = None if answer.is_success else f"{answer.status_code} {answer.text[:200]}"
        except httpx.TransportError as error:
            failure = type(error).__name__
        self.requests.note(route, time.monotonic() - began, failure)
        if answer is None or failure is not None:
            return None
        return answer.json() if answer.headers["content-type"].startswith("application/json") else answer.content

    def wait(self, seconds: float) -> None:
        """Do nothing for a while."""
        self.over.wait(seconds)


def scan(user: User) -> None:
    """Scan new images, again and again."""
    for number in count(1):
        if user.over.is_set():
            return
        one_scan(user.settings, user.requests, user.home, number, user.over)


def one_scan(
    settings: Settings, requests: Requests, home: Path, number: int, over: threading.Event | None = None
) -> None:
    """Scan images that no scan with another number has, to its end, or until the soak is over."""
    user, folder = User(settings, requests, home, over or threading.Event()), home / f"media-{number}"
    folder.mkdir()
    for n in range(IMAGES):
        picture(folder / f"{n:03}.jpg", np.random.default_rng((number, n)))
    job = user.ask("POST /v1/jobs", json={"uris": [str(folder)], "out": str(home / "found")})
    while job is not None and not user.over.is_set():
        known = user.ask("GET /v1/jobs/{job}", f"/v1/jobs/{job['job']}")
        if known is not None and known["state"] in OVER:
            requests.scanned(known)
            break
        user.wait(STATUS_S)
    shutil.rmtree(folder)


def upload(user: User) -> None:
    """Have pictures analysed that nobody has seen before."""
    for number in count():
        if user.over.is_set():
            return
        content = io.BytesIO()
        picture(content, np.random.default_rng((7, number)))
        user.ask("POST /v1/analyze", files={"file": ("upload.jpg", content.getvalue())})
        user.wait(UPLOAD_S)


def browse(user: User) -> None:
    """Look at pages of files and at single ones, as the app's page Browse does."""
    for number in count():
        if user.over.is_set():
            return
        page = user.ask("GET /v1/assets", params={"page": 1 + number % 5, "sort": ("newest", "score")[number % 2]})
        user.ask("GET /v1/facets")
        user.ask("GET /v1/jobs")
        for item in (page or {"items": []})["items"][:4]:
            user.ask("GET /v1/assets/{asset}", f"/v1/assets/{item['id']}")
            if item["has_thumbnail"]:
                user.ask("GET /v1/assets/{asset}/thumbnail", f"/v1/assets/{item['id']}/thumbnail")
            user.wait(BROWSE_S)


def search(user: User) -> None:
    """Search by words, and for what looks like a file."""
    for number in count():
        if user.over.is_set():
            return
        found = user.ask("GET /v1/search", params={"q": WORDS[number % len(WORDS)]})
        user.wait(SEARCH_S)
        for hit in (found or {"hits": []})["hits"][:1]:
            user.ask("GET /v1/search", params={"like": hit["asset"]["id"]})
            user.wait(SEARCH_S)


def probe(user: User) -> None:
    """Ask whether the API is ready, as load balancers and `raysift top` do."""
    while not user.over.is_set():
        user.ask("GET /v1/ready")
        user.wait(STATUS_S)


LOADS: tuple[Callable[[User], None], ...] = (scan, upload, browse, search, probe)


@contextmanager
def running(
    settings: Settings, requests: Requests, home: Path, loads: tuple[Callable[[User], None], ...] = LOADS
) -> Iterator[None]:
    """Run one user of each of these loads until the block ends. What a thread raises is raised at the end."""
    over, errors = threading.Event(), list[Exception]()

    def work(load: Callable[[User], None]) -> None:
        try:
            load(User(settings, requests, home, over))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(load,), name=load.__name__) for load in loads]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
