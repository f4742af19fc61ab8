"""Shared by the commands: output, progress, and the client of the API."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from cluster.errors import SettingsError
from cluster.settings import Profile, Settings

ProfileOption = Annotated[Profile | None, typer.Option(help="Which models; default: settings.profile.")]

console = Console(stderr=True)
LINE_EVERY_S = 10.0  # between lines of progress where no terminal shows a spinner or a bar
ANSWER_S = 120.0  # most requests take less than a second; a new job answers after every URI is listed


@contextmanager
def waiting(text: str, to: Console = console) -> Iterator[Callable[[str], None]]:
    """Show what a command waits for until the block ends; yields a function that replaces the text.

    A terminal shows a spinner. A pipe, a file or a log gets a line every LINE_EVERY_S seconds, with the newest text and
    the seconds that have passed, so a short command writes nothing there.
    """
    if to.is_terminal:
        with to.status(text) as spinner:
            yield spinner.update
        return
    newest, over, began = [text], threading.Event(), time.monotonic()

    def print_lines() -> None:
        while not over.wait(LINE_EVERY_S):
            say(f"{newest[0]} ({time.monotonic() - began:.0f} s)", to)

    thread = threading.Thread(target=print_lines, daemon=True, name="progress")
    thread.start()
    try:
        yield lambda newer: newest.__setitem__(0, newer)
    finally:
        over.set()
        thread.join()


@contextmanager
def progress(text: str, to: Console = console) -> Iterator[Callable[[float], None]]:
    """As `waiting`, for work with a known share done: yields a function that takes this share, from 0 to 1."""
    if to.is_terminal:
        with Progress(console=to) as bars:
            bar = bars.add_task(text, total=1.0)
            yield lambda share: bars.update(bar, completed=share)
        return
    with waiting(text, to) as update:
        yield lambda share: update(f"{text}: {share:.0%}")


def say(text: str, to: Console = console) -> None:
    """Print one line without wrapping or markup, for programs that read it. It is flushed."""
    to.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def api_client(settings: Settings) -> Iterator[httpx.Client]:
    """A client of the API. SettingsError if it does not answer in time, or rejects a request, with its message."""
    try:
        with httpx.Client(base_url=settings.api.url, timeout=ANSWER_S, trust_env=False) as client:
            yield client
    except httpx.ReadTimeout:
        raise SettingsError(
            f"Raysift at {settings.api.url} has not answered in time. See `raysift status`, then try again."
        ) from None
    except httpx.TransportError as error:
        raise SettingsError(f"Raysift does not answer at {settings.api.url} ({error}). Start it: raysift up") from None
    except httpx.HTTPStatusError as error:
        is_json = error.response.headers.get("content-type") == "application/json"
        raise SettingsError(str(error.response.json()["detail"] if is_json else error)) from None


def harmless(text: str) -> Text:
    """Text from scanned files, with control characters replaced and Rich's markup not interpreted."""
    return Text("".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text))
