"""Shared by the commands: output, progress, the client of the API, and imports on first use."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup
from typer.main import get_group

from cluster.access.credential import own_key
from cluster.access.rules import PURPOSE_VARIABLE, purpose_header
from cluster.errors import SettingsError
from cluster.settings import Profile, Settings

if TYPE_CHECKING:
    import httpx

Purpose = Annotated[
    str | None, typer.Option(envvar=PURPOSE_VARIABLE, help="Why; it is recorded. Settings may demand it.")
]
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
        from rich.progress import Progress

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
def api_client(settings: Settings, purpose: str | None = None) -> "Iterator[httpx.Client]":
    """A client of the API, with the key of the environment or of this machine, and the purpose of its requests.

    Without a `purpose` it is that of the environment.

    SettingsError if the API does not answer in time, or rejects a request, with its message.
    """
    import httpx  # only now: `raysift --help` does not wait for it

    try:
        why = purpose_header(purpose or os.environ.get(PURPOSE_VARIABLE))
        url, headers = settings.api.url, authorization(settings) | why
        with httpx.Client(base_url=url, headers=headers, timeout=ANSWER_S, trust_env=False) as client:
            yield client
    except httpx.ReadTimeout:
        raise SettingsError(
            f"Raysift at {settings.api.url} has not answered in time. See `raysift status`, then try again."
        ) from None
    except httpx.TransportError as error:
        raise SettingsError(f"Raysift does not answer at {settings.api.url} ({error}). Start it: raysift up") from None
    except httpx.HTTPStatusError as error:
        raise SettingsError(_reason(error)) from None


def _reason(error: "httpx.HTTPStatusError") -> str:
    """The API's own sentence; of a proxy's page, which has none, its status."""
    try:
        return str(error.response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return str(error)


def authorization(settings: Settings) -> dict[str, str]:
    """The header with the key of the environment or of this machine; none without a key."""
    key = own_key(settings)
    return {"Authorization": f"Bearer {key}"} if key else {}


def harmless(text: str) -> Text:
    """Text from scanned files, with control characters replaced and Rich's markup not interpreted."""
    return Text("".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text))


class LazyGroup(TyperGroup):
    """A group whose commands are those of `cli` in the module of its name, as `people` in commands/people.py.

    They import numpy, pyarrow and the detectors' code: `raysift scan` and `raysift --help` do not wait for that.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands, after importing them."""
        self._import_commands()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, after importing it; None if there is none."""
        self._import_commands()
        return super().get_command(ctx, cmd_name)

    def _import_commands(self) -> None:
        if not self.commands:
            self.commands.update(get_group(import_module(f"commands.{self.name}").cli).commands)
