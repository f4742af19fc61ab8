"""What the commands share: where they write, and how they ask the API."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from rich.console import Console
from rich.text import Text

from cluster.errors import SettingsError
from cluster.settings import Settings

console = Console(stderr=True)


@contextmanager
def api_client(settings: Settings) -> Iterator[httpx.Client]:
    """A client of the API. SettingsError when it does not answer, or refuses, in its own words."""
    try:
        with httpx.Client(base_url=settings.api.url, timeout=120, trust_env=False) as client:
            yield client
    except httpx.TransportError as error:
        raise SettingsError(f"Raysift does not answer at {settings.api.url} ({error}). Start it: raysift up") from None
    except httpx.HTTPStatusError as error:
        said = error.response.headers.get("content-type") == "application/json"
        raise SettingsError(str(error.response.json()["detail"] if said else error)) from None


def harmless(text: str) -> Text:
    """Text out of somebody's files, without what a terminal or Rich would obey."""
    return Text("".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text))
