"""A headless Chromium and a Streamlit server for browser tests."""

import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect, sync_playwright

from app.sign_in import COOKIE
from cluster.access import tokens
from tests.support.fakes.api import FakeApi
from tests.support.pages import served
from tests.support.paths import ROOT
from tests.support.servers.process import running_server

CHROMIUM = "/usr/bin/chromium"
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--mute-audio",
]

expect.set_options(timeout=20_000)  # in ms; pages render slowly while the machine runs a scan

# JavaScript predicate: every thumbnail inside the viewport is loaded and decoded. Tiles are in shadow roots.
SHOWN = """() => {
  const thumbnails = []
  const walk = node => { for (const element of node.querySelectorAll("*")) {
    if (element.shadowRoot) walk(element.shadowRoot)
    if (element.tagName === "IMG" && element.src.includes("/api/thumb/")) thumbnails.push(element) } }
  walk(document)
  const inViewport = box => box.top < innerHeight && box.bottom > 0
  const visible = thumbnails.filter(image => inViewport(image.getBoundingClientRect()))
  return visible.length > 0 && visible.every(image => image.complete && image.naturalWidth > 0)
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a headless browser whose background network requests are switched off."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGS)
        yield browser
        browser.close()


class Visit:
    """A page in a fresh browser context. Records console errors and requests to other hosts (`strangers`)."""

    def __init__(
        self,
        browser: Browser,
        url: str,
        width: int = 1440,
        height: int = 900,
        dark: bool = False,
        session: str | None = None,
        locale: str = "en-US",
    ) -> None:
        """`session`: of the API, by which the browser is signed in; empty: none. None: a new one of the fake API, as
        the app caches for a session what the API has told, and a test before may have changed that.

        `locale`: the language that the browser asks for.
        """
        self.url = url
        self.errors: list[str] = []
        self.strangers: list[str] = []
        self._context = browser.new_context(
            viewport={"width": width, "height": height},
            reduced_motion="reduce",
            color_scheme="dark" if dark else "light",
            locale=locale,
        )
        token = str(tokens.new()) if session is None else session
        if token:
            self._context.add_cookies([{"name": COOKIE, "value": token, "url": url, "httpOnly": True}])
        self.page: Page = self._context.new_page()
        self.page.on("console", self._record_error)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._record_foreign_request)

    def open(self, path: str = "/") -> Page:
        """Navigate to a path of the app; returns as soon as the response headers have arrived."""
        self.page.goto(self.url + path, wait_until="commit")
        return self.page

    def close(self) -> None:
        """Close the browser context, with its cookies and storage."""
        self._context.close()

    def _record_error(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _record_foreign_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(self.url).netloc:
            self.strangers.append(request.url)


def free_port() -> int:
    """Return an unused TCP port outside Ray's worker range and the system's ephemeral range."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def streamlit(script: Path, **environment: str) -> Iterator[str]:
    """Run a Streamlit script with the options that `raysift up` uses; yields its URL once it is healthy."""
    port = free_port()
    flags = ["--server.address", "127.0.0.1", "--server.port", str(port), "--server.headless", "true"]
    command = [sys.executable, "-m", "streamlit", "run", str(script), *flags]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false", **environment}
    url = f"http://127.0.0.1:{port}"
    with running_server(command, f"{url}/_stcore/health", 60, env=env, stderr=subprocess.DEVNULL):
        yield url


@contextmanager
def app_over(api: FakeApi) -> Iterator[str]:
    """Run the app with the fake API; yields its URL."""
    with served(api) as port, streamlit(ROOT / "app" / "serve.py", RAYSIFT_API__PORT=str(port)) as url:
        yield url


def settled(page: Page) -> None:
    """Wait until Streamlit's script has run to its end: elements that it is still drawing lose a focus or an upload."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")


def focus(control: Locator) -> None:
    """Focus a control, and wait for the scrolling that this causes: it would close a list that a key has opened."""
    control.focus()
    control.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def least_opacity(page: Page, selector: str, seconds: float = 2.0) -> float:
    """The least opacity that an element of this selector has within the time."""
    return page.evaluate(
        """async ([selector, milliseconds]) => { let least = 1
        const until = performance.now() + milliseconds
        while (performance.now() < until) {
          for (const element of document.querySelectorAll(selector))
            least = Math.min(least, getComputedStyle(element).opacity)
          await new Promise(requestAnimationFrame) }
        return least }""",
        [selector, seconds * 1000],
    )


def focused(page: Page) -> str:
    """The href of the link that has the focus; empty if none has."""
    return page.evaluate(
        """() => { let element = document.activeElement
        while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement
        return element?.getAttribute("href") ?? "" }"""
    )


def blurred(page: Page, place: int) -> bool:
    """Whether the picture of the tile with this index is blurred."""
    image = page.locator(".tile").nth(place).locator("img")
    return "blur" in image.evaluate("image => getComputedStyle(image).filter")


def first_picture(page: Page) -> int:
    """The index of the first tile that has a picture."""
    return page.evaluate(
        """() => { for (const element of document.querySelectorAll("*")) {
        const tiles = element.shadowRoot ? [...element.shadowRoot.querySelectorAll(".tile")] : []
        if (tiles.length) return tiles.findIndex(tile => tile.querySelector("img")) } }"""
    )


def wait_for_pictures(page: Page) -> None:
    """Wait until every thumbnail inside the viewport is loaded and decoded."""
    page.wait_for_function(SHOWN)
