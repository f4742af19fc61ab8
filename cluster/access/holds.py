"""Legal holds: files that must not be erased. state_dir/holds.json on the head, for its owner only.

Erasures read it before they change anything. A file of holds that cannot be read stops them.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from cluster.access.identity import lies_under
from cluster.access.private_files import replace_private
from cluster.errors import SettingsError
from cluster.records import asset_id
from cluster.storage.members import with_containers

MOST_NAMED = 5  # holds in one refusal
WAIT_S = 5.0  # a change of the holds takes milliseconds; whoever has the lock for longer erases


class Hold(BaseModel):
    """A hold on everything under a URI, or on one file by its asset id. One of `under` and `asset` is set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    under: str | None = None
    asset: str | None = None
    reason: str
    by: str  # who added it
    at: datetime

    def covers(self, uri: str, parent: str | None = None) -> bool:
        """Whether it holds a file or a container around it. `parent`: URI of the file of the bucket around it."""
        places = with_containers(uri, parent)
        if self.under is not None:
            return any(lies_under(place, [self.under.rstrip("/")]) for place in places)  # "/": all files
        return any(self.asset == asset_id(place) for place in places)

    def __str__(self) -> str:
        place = self.under if self.under is not None else f"asset {self.asset}"
        return f"{self.id} on {place} by {self.by}, {self.at:%Y-%m-%d}: {self.reason}"


_HOLDS = TypeAdapter(list[Hold])


class Holds:
    """The holds of one state folder. Several processes may change them.

    `record` is called with the hold before a change is stored. If it raises, nothing is changed.
    """

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "holds.json"

    def all(self) -> list[Hold]:
        """Every hold, oldest first. SettingsError if the file cannot be read."""
        try:
            return _HOLDS.validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, ValidationError) as error:
            raise SettingsError(
                f"{self.path} cannot be read ({type(error).__name__}): nothing can be erased. Restore it from a backup."
            ) from None

    def add(
        self,
        by: str,
        reason: str,
        under: str | None = None,
        asset: str | None = None,
        record: Callable[[Hold], object] = lambda hold: None,
    ) -> Hold:
        """Add a hold and return it."""
        at = datetime.now(UTC).replace(microsecond=0)
        hold = Hold(id=uuid4().hex[:8], under=under, asset=asset, reason=reason, by=by, at=at)
        with self.unchanged():
            holds = [*self.all(), hold]
            record(hold)
            self._write(holds)
        return hold

    def remove(self, id: str, record: Callable[[Hold], object] = lambda hold: None) -> Hold:
        """Remove a hold and return it. SettingsError if there is none with this id."""
        with self.unchanged():
            holds = {hold.id: hold for hold in self.all()}
            if id not in holds:
                raise SettingsError(f"there is no hold {id!r}. `raysift hold list` shows the ids.")
            removed = holds.pop(id)
            record(removed)
            self._write(list(holds.values()))
        return removed

    def _write(self, holds: list[Hold]) -> None:
        replace_private(self.path, _HOLDS.dump_json(holds, indent=1))

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """While nobody else changes the holds: an erasure has that from its last look at them to its end.

        SettingsError if an erasure has it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self.path.with_name(f".{self.path.name}.lock")
        with os.fdopen(os.open(lock, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            until = time.monotonic() + WAIT_S
            while not _locks(file):
                if time.monotonic() > until:
                    raise SettingsError(
                        "an erasure is at work: holds cannot be changed before its end. A hold that is set then keeps "
                        "what is left."
                    )
                time.sleep(0.05)
            yield


def _locks(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def held(holds: list[Hold], files: Iterable[tuple[str, str | None]]) -> dict[str, int]:
    """Hold id -> how many of these files, (URI, parent), it covers; holds that cover none are left out."""
    counts: dict[str, int] = {}
    for uri, parent in files if holds else ():
        for hold in holds:
            if hold.covers(uri, parent):
                counts[hold.id] = counts.get(hold.id, 0) + 1
    return counts


def refuse_held(holds: list[Hold], files: Iterable[tuple[str, str | None]]) -> None:
    """SettingsError if one of these files, (URI, parent), is held; it names the holds, their reasons and who set them.

    A container is held too if it has a held member.
    """
    counts = held(holds, files)
    if counts:
        which = [f"{hold} ({counts[hold.id]:,} files)" for hold in holds if hold.id in counts]
        more = f"; and {len(which) - MOST_NAMED} more" if len(which) > MOST_NAMED else ""
        raise SettingsError(
            f"a legal hold forbids it: {'; '.join(which[:MOST_NAMED])}{more}. "
            "`raysift hold list` shows all holds; `raysift hold remove ID` ends one."
        )
