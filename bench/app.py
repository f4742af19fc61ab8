"""Measure the app in a browser over a million made-up files: `python -m bench.app [FILES]`.

A cluster with one detector gets a catalogue as of bench.catalog. In turns with an empty page of Streamlit, its floor,
headless Chromium opens Browse, ticks a filter, goes to the next page, opens a file, goes to the next one by key at once
and to the one after it when the page is complete. Then PEOPLE browsers have Browse open at once. It prints medians and
95th percentiles in ms, and the app's memory.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.table import Table

from bench import catalog
from bench.figures import RAYSIFT, Measured, console
from cluster.processes import FAMILY, Processes
from cluster.settings import Settings, load
from deployments.catalog.catalog import Catalog
from deployments.catalog.database import FILE
from deployments.detector import names

ROUNDS, PEOPLE, WAIT_MS = 10, 20, 60_000
CHROMIUM = "/usr/bin/chromium"
FLOOR = "import streamlit as st\nst.write('the floor')\n"
FLOOR_PORT = 8599
COMPLETE = "[data-testid=stApp][data-test-script-state=notRunning]"  # Streamlit's script has run to its end
# JavaScript predicate: the first such element, in the page or in a shadow root of it, has another text
CHANGED = """([selector, before]) => {
  const roots = [document, ...[...document.querySelectorAll("*")].map(one => one.shadowRoot).filter(Boolean)]
  const found = roots.map(root => root.querySelector(selector)).find(Boolean)
  return found && found.innerText !== before
}"""


@contextmanager
def cluster(files: int) -> Iterator[Settings]:
    """A cluster with nsfw alone, whose catalogue has this many files."""
    with TemporaryDirectory(prefix="raysift-bench-") as place:
        os.environ["RAYSIFT_STATE_DIR"] = place
        for name in names():
            os.environ[f"RAYSIFT_DETECTORS__{name.upper()}__ENABLED"] = str(name == "nsfw")
        settings = load()
        filled = Catalog(settings.state_dir / FILE)
        filled.load_all(catalog.write(settings.state_dir / "results", files).as_uri())
        filled.close()
        subprocess.run([RAYSIFT, "up"], check=True, capture_output=True)
        try:
            yield settings
        finally:
            subprocess.run([RAYSIFT, "down"], check=True, capture_output=True)


@contextmanager
def floor(folder: Path) -> Iterator[str]:
    """An empty page of Streamlit; yields its URL."""
    script = folder / "floor.py"
    script.write_text(FLOOR)
    options = ["--server.port", str(FLOOR_PORT), "--server.address", "127.0.0.1", "--server.headless", "true"]
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(script), *options], stdout=subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{FLOOR_PORT}/"
    finally:
        process.terminate()
        process.wait()


def timed(measured: Measured, name: str, act: Callable[[], object], until: Callable[[], object]) -> None:
    """Add the milliseconds from an act until what it leads to is there."""
    began = time.perf_counter()
    act()
    until()
    measured.add(name, 1000 * (time.perf_counter() - began))


def changed(page: Page, selector: str) -> Callable[[], object]:
    """A function that waits until the text of an element is another one than now."""
    before = page.locator(selector).first.inner_text()
    return lambda: page.wait_for_function(CHANGED, arg=[selector, before], timeout=WAIT_MS)


def one_round(measured: Measured, context: Any, base: str, floor_url: str) -> None:
    """Measure each way once, from a page that is drawn completely."""
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    timed(
        measured,
        "an empty page of Streamlit",
        lambda: page.goto(floor_url, wait_until="commit"),
        lambda: page.wait_for_selector("text=the floor"),
    )
    page.goto("about:blank")
    timed(
        measured,
        "Browse, first tiles",
        lambda: page.goto(base + "/", wait_until="commit"),
        lambda: page.wait_for_selector(".tile .open"),
    )
    page.wait_for_selector(COMPLETE)
    timed(measured, "a filter", page.locator(".facets label", has_text="face").first.click, changed(page, "h4"))
    page.wait_for_selector(COMPLETE)
    timed(
        measured,
        "next page",
        page.get_by_role("button", name="Page 2", exact=True).click,
        changed(page, ".tile .name"),
    )
    page.wait_for_selector(COMPLETE)
    timed(
        measured,
        "open a file",
        page.locator(".tile .open").first.click,
        lambda: page.wait_for_selector(".viewer h1"),
    )
    press = partial(page.keyboard.press, "ArrowRight")
    timed(measured, "next file by key, at once", press, changed(page, ".viewer h1"))
    page.wait_for_selector(COMPLETE)
    timed(measured, "next file by key", press, changed(page, ".viewer h1"))
    page.close()


def signed_in(browser: Browser, settings: Settings) -> Any:
    """A browser's context that a one-time link has signed in."""
    link = subprocess.run([RAYSIFT, "keys", "link"], check=True, capture_output=True, text=True).stdout.strip()
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    page.goto(link, wait_until="commit")
    page.wait_for_url(settings.app.url + "/")
    page.close()
    return context


def app_mb(settings: Settings) -> float:
    """The memory of the app's processes, PSS in MB."""
    state, total = str(Processes(settings).state), 0
    for process in psutil.process_iter():
        try:
            if "app/serve.py" in " ".join(process.cmdline()) and process.environ().get(FAMILY) == state:
                total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 1e6


def people(measured: Measured, context: Any, settings: Settings) -> None:
    """Add the app's memory for each of PEOPLE who have Browse open at once, beside what it needs for none."""
    before = app_mb(settings)
    pages = [context.new_page() for _ in range(PEOPLE)]
    for page in pages:
        page.goto(settings.app.url + "/", wait_until="commit")
    for page in pages:
        page.wait_for_selector(".tile .open", timeout=WAIT_MS)
    measured.add(f"memory of each of {PEOPLE} people, MB", (app_mb(settings) - before) / PEOPLE)


def main() -> None:
    """Fill a catalogue, start a cluster and the browser, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.app", description=__doc__)
    parser.add_argument("files", type=int, nargs="?", default=catalog.FILES)
    files, measured = parser.parse_args().files, Measured()
    with (
        TemporaryDirectory() as place,
        cluster(files) as settings,
        floor(Path(place)) as floor_url,
        sync_playwright() as play,
    ):
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = play.chromium.launch(executable_path=CHROMIUM, args=options)
        context = signed_in(browser, settings)
        for _ in range(ROUNDS):
            one_round(measured, context, settings.app.url, floor_url)
        people(measured, context, settings)
        browser.close()
    table = Table("what", "median ms", "95th percentile ms")
    for name, values in measured.values.items():
        table.add_row(name, f"{measured.median(name):.0f}", f"{np.percentile(values, 95):.0f}")
    console.print(f"{files} files, {ROUNDS} rounds")
    Console().print(table)


if __name__ == "__main__":
    main()
