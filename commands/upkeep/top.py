"""`raysift top`: one screen that is kept up to date, for a terminal that stays open."""

import time

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from cluster.errors import SettingsError
from cluster.metrics.exported import Exported
from cluster.settings import Settings, load
from commands.upkeep import exported, overview

EVERY_S = 10.0  # the state of a detector is found by a request with its example, and nodes export values as often


def top() -> None:
    """Show detectors, queues, cards, rates and the jobs that are not over, every ten seconds until Ctrl-C.

    Where no terminal is, it is printed once. Queues, cards and rates are shown on the head only.
    """
    settings, console = load(), Console()
    shown, now = _view(settings, None)
    if not console.is_terminal:
        console.print(shown)
        return
    try:
        with Live(shown, console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(EVERY_S)
                shown, now = _view(settings, now)
                live.update(shown, refresh=True)
    except KeyboardInterrupt:
        pass


def _view(settings: Settings, before: Exported | None) -> tuple[RenderableType, Exported | None]:
    """What is shown now, and what the nodes export; while the API is away, its message, and the former values."""
    try:
        ready, jobs = overview.ask(settings)
        now = exported.look(settings)
        return overview.view(ready, jobs, now, before), now
    except SettingsError as error:
        return Text(str(error), style="red"), before
