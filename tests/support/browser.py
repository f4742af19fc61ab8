"""A headless Chromium and a Streamlit server for the tests, and what they ask of the pages."""

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.support.paths import ROOT

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

expect.set_options(timeout=20_000)  # a page of a machine that is busy with a scan may take its time

# every picture of a tile that is in the window has been fetched and decoded; tiles lie in shadow roots
SHOWN = """() => {
  const found = []
  const walk = node => { for (const one of node.querySelectorAll("*")) {
    if (one.shadowRoot) walk(one.shadowRoot)
    if (one.tagName === "IMG" && one.src.includes("/api/thumb/")) found.push(one) } }
  walk(document)
  const within = at => at.top < innerHeight && at.bottom > 0
  const seen = found.filter(one => within(one.getBoundingClientRect()))
  return seen.length > 0 && seen.every(one => one.complete && one.naturalWidth > 0)
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that asks nobody but the pages it is sent to."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGS)
        yield browser
        browser.close()


class Visit:
    """A page of a new visitor, and what went wrong on it: errors in the console, requests to anybody else."""

    def __init__(self, browser: Browser, url: str, width: int = 1440, height: int = 900, dark: bool = False) -> None:
        self.url = url
        self.errors: list[str] = []
        self.strangers: list[str] = []
        self._context = browser.new_context(
            viewport={"width": width, "height": height},
            reduced_motion="reduce",
            color_scheme="dark" if dark else "light",
        )
        self.page: Page = self._context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._asked)

    def open(self, path: str = "/") -> Page:
        self.page.goto(self.url + path, wait_until="commit")
        return self.page

    def close(self) -> None:
        self._context.close()

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(self.url).netloc:
            self.strangers.append(request.url)


def free_port() -> int:
    """Where nobody listens now; neither among Ray's workers' ports nor where the system takes its own from."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def streamlit(script: Path, **environment: str) -> Iterator[str]:
    """A Streamlit server as `raysift up` starts it, until it is no longer needed."""
    port = free_port()
    flags = ["--server.address", "127.0.0.1", "--server.port", str(port), "--server.headless", "true"]
    command = [sys.executable, "-m", "streamlit", "run", str(script), *flags]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT), "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false", **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while not answers(f"{url}/_stcore/health"):
            assert time.monotonic() < deadline and process.poll() is None, "Streamlit did not start"
            time.sleep(0.2)
        yield url
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def focused(page: Page) -> str:
    """The link of the tile that has the keyboard."""
    return page.evaluate(
        """() => { let at = document.activeElement
        while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement
        return at?.getAttribute("href") ?? "" }"""
    )


def blurred(page: Page, place: int) -> bool:
    """Whether the picture of the tile at that place is blurred."""
    image = page.locator(".tile").nth(place).locator("img")
    return "blur" in image.evaluate("one => getComputedStyle(one).filter")


def first_picture(page: Page) -> int:
    """The place of the first tile that has a picture."""
    return page.evaluate(
        """() => { for (const one of document.querySelectorAll("*")) {
        const tiles = one.shadowRoot ? [...one.shadowRoot.querySelectorAll(".tile")] : []
        if (tiles.length) return tiles.findIndex(tile => tile.querySelector("img")) } }"""
    )
