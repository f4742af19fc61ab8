"""An erasure that was begun: what it erases, kept until its proof is written, so that it can be finished after a crash.

state_dir/erasures/pending.json names what is erased and holds pieces of its vectors, for the proof. It is deleted at
the end. The proofs lie beside it.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cluster.access.private_files import replace_private
from cluster.api_types import ErasedCaches
from cluster.errors import SettingsError
from pipelines.erasure.needles import Needles

FOLDER = "erasures"


class Person(BaseModel):
    """The person whom an erasure is about, as pipelines.people.purge.find has found them."""

    model_config = ConfigDict(extra="forbid")

    name: str
    vectors: list[str]  # float32, in hex
    files: dict[str, str | None]  # that show the person, with their containers


class Erasure(BaseModel):
    """What is erased, and what its proof searches for. Bytes are in hex."""

    model_config = ConfigDict(extra="forbid")

    id: str
    by: str
    began: str  # ISO 8601
    selected_by: str  # asset, under, job, age or person
    outs: list[str]  # folders of results
    files: dict[str, str | None] = Field(default={}, description="URI -> container, erased everywhere")
    assets: list[str] = Field(default=[], description="ids of files and containers that were asked for")
    others: dict[str, str | None] = Field(default={}, description="files that lose rows of jobs, or jobs' mentions")
    under: list[str] = Field(default=[], description="folders of which no name is kept")
    jobs: list[str] = Field(default=[], description="jobs whose rows are erased")
    before_s: float | None = Field(default=None, description="files last analysed before then, in seconds since 1970")
    old_jobs: list[str] = Field(default=[], description="jobs of which only the folder is erased")
    longer: list[str] = Field(default=[], description="addresses that begin with an erased one, of files that stay")
    person: Person | None = None
    caches: ErasedCaches | None = None
    nodes_reached: bool = Field(default=False, description="whether the running cluster has erased the caches")
    vectors: list[str] | None = Field(default=None, description="pieces of vectors; None: not collected yet")
    thumbnails: list[str] = Field(default=[], description="pieces of thumbnails")
    totals: dict[str, dict[str, int]] = Field(default={}, description="job -> fields of its record afterwards")
    searched: int = Field(default=0, description="how many vectors these pieces are of")
    shared: int = Field(default=0, description="pieces that files with equal content have too, and keep")

    def needles(self) -> Needles:
        """What its proof searches for, but for a person's name."""
        needles = self.addresses()
        needles.add("vectors", map(bytes.fromhex, self.vectors or []))
        needles.add("thumbnails", map(bytes.fromhex, self.thumbnails))
        return needles

    def addresses(self) -> Needles:
        """The addresses and ids of the erased files."""
        needles = Needles()
        needles.add_files(self.files, self.under, self.longer)
        return needles

    @property
    def touched(self) -> dict[str, str | None]:
        """The files, with their containers, that a legal hold must not be on."""
        return self.files | self.others | (self.person.files if self.person else {})

    @property
    def erased_jobs(self) -> set[str]:
        """The jobs whose folders and records are erased."""
        return {*self.jobs, *self.old_jobs}


def path(state_dir: Path) -> Path:
    """Where an erasure that is not finished is kept."""
    return state_dir / FOLDER / "pending.json"


def read(state_dir: Path) -> Erasure | None:
    """The erasure that is not finished, if there is one. SettingsError if its file is damaged."""
    file = path(state_dir)
    try:
        return Erasure.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise SettingsError(f"{file} is damaged. Delete it and erase again: what was erased stays erased.") from None


def keep(erasure: Erasure, state_dir: Path) -> None:
    """Write the erasure, for its owner only; a crash leaves the whole file or the one before."""
    replace_private(path(state_dir), erasure.model_dump_json().encode())


def finish(state_dir: Path) -> None:
    """Delete the file of the erasure."""
    file = path(state_dir)
    for left in (file, file.with_name(f".{file.name}.part")):
        left.unlink(missing_ok=True)


def refuse_unfinished(state_dir: Path) -> None:
    """SettingsError if there is an erasure that is not finished."""
    if unfinished := read(state_dir):
        raise SettingsError(
            f"the erasure of {unfinished.began} was interrupted. Finish it first: raysift erase --resume"
        )


@contextmanager
def alone(state_dir: Path) -> Iterator[None]:
    """While no other process erases, compacts, or starts Raysift, on this state folder. SettingsError if one does."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = state_dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                "`raysift erase`, `compact`, `people purge` or `up` is at work here. Wait for its end."
            ) from None
        yield
