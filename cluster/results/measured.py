"""Measures of detectors by evaluations, in state_dir/evaluations/TIME/measures.json: reports of cases quote them."""

from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

FOLDER, FILE = "evaluations", "measures.json"  # in state_dir, and in the folder of each evaluation


class Measure(BaseModel):
    """A share, such as precision, with its 95 % interval and what it is counted from, where that is known."""

    model_config = ConfigDict(frozen=True)

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    hits: int | None = None
    of: int | None = None


class Measured(BaseModel):
    """The measures of one label of a detector in one evaluation."""

    model_config = ConfigDict(frozen=True)

    detector: str
    model: str
    label: str
    threshold: float  # at which it was measured; 0: all that is kept
    files_with: int  # labelled to have it
    files_without: int
    measures: tuple[Measure, ...]
    made_at: str
    labels: str  # the name of the file of labels


_ALL: TypeAdapter[list[Measured]] = TypeAdapter(list[Measured])


def save(folder: Path, measured: list[Measured]) -> None:
    """Write the measures of one evaluation into its folder, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(_ALL.dump_json(measured))


def forget(state_dir: Path, person: str) -> int:
    """Remove a person's measures from all evaluations. Returns how many there were. Unreadable files are left."""
    removed = 0
    for file in (state_dir / FOLDER).glob(f"*/{FILE}"):
        try:
            measured = _ALL.validate_json(file.read_bytes())
        except (OSError, ValidationError):
            continue
        kept = [one for one in measured if (one.detector, one.label) != ("face", person)]
        if len(kept) < len(measured):
            removed += len(measured) - len(kept)
            part = file.with_suffix(".part")
            part.write_bytes(_ALL.dump_json(kept))
            part.replace(file)
    return removed


def known(state_dir: Path, models: Collection[tuple[str, str]]) -> list[Measured]:
    """The measures of these detectors and models: of each, those of its newest evaluation.

    Folders of evaluations are named by their time, so that the last name is the newest. Unreadable files are skipped.
    """
    missing, found = set(models), list[Measured]()
    for file in sorted((state_dir / FOLDER).glob(f"*/{FILE}"), reverse=True):
        try:
            measured = _ALL.validate_json(file.read_bytes())
        except (OSError, ValidationError):
            continue
        new = [one for one in measured if (one.detector, one.model) in missing]
        found += new
        missing -= {(one.detector, one.model) for one in new}
    return found
