"""Reading of LABELS.jsonl, the labels of files for an evaluation; docs/evaluating.md describes the format."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.errors import SettingsError
from cluster.storage import buckets
from cluster.storage.listing import list_media
from deployments.detector import names

ANY = "*"  # in place of a label: any label of the detector

Statement = bool | int | str | tuple[str, ...]  # present or not; number; exact text; people's names


@dataclass(frozen=True, slots=True)
class Labelled:
    """The labels of one file, by detector and label. Detectors that are not named are not evaluated on it."""

    uri: str
    line: int  # in the file of labels, from 1
    labels: dict[str, dict[str, Statement]]


def read(path: Path) -> list[Labelled]:
    """The labels of all lines; a URI without a scheme is relative to the file. SettingsError names a wrong line."""
    try:
        lines = path.read_text("utf-8-sig").split("\n")  # a text may contain other line separators
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise SettingsError(
            f"{path} cannot be read ({reason}). Name a file of labels, one JSON object a line."
        ) from None
    found = [_parsed(path, n, line) for n, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise SettingsError(f"{path} is empty. Write one JSON object a line: docs/evaluating.md has an example.")
    first: dict[str, int] = {}
    for one in found:
        if first.setdefault(one.uri, one.line) != one.line:
            raise SettingsError(f"{path}, line {one.line}: {one.uri} stands in line {first[one.uri]} too. Join them.")
    return found


def check_there(path: Path, labelled: list[Labelled], s3_endpoint: str | None) -> None:
    """Raise SettingsError for the first line whose file does not exist or cannot be listed."""
    for one in labelled:
        try:
            listed = next(list_media(one.uri, s3_endpoint), None)
        except SettingsError as error:
            raise SettingsError(f"{path}, line {one.line}: {error}") from None
        if listed is None or listed.uri != one.uri:
            raise SettingsError(f"{path}, line {one.line}: {one.uri} is a folder. Label each of its files.")


def _parsed(path: Path, n: int, line: str) -> Labelled:
    def wrong(what: str) -> SettingsError:
        return SettingsError(f"{path}, line {n}: {what}")

    try:
        told = json.loads(line)
    except ValueError as error:
        raise wrong(f"it is not JSON ({error}). Write one JSON object in one line.") from None
    if not isinstance(told, dict) or set(told) - {"uri", "labels"}:
        strange = ", ".join(map(repr, sorted(set(told) - {"uri", "labels"}))) if isinstance(told, dict) else "no object"
        raise wrong(f'only "uri" and "labels" are known, not {strange}. Correct or remove it.')
    uri, labels = told.get("uri"), told.get("labels")
    if not isinstance(uri, str) or not uri or not isinstance(labels, dict) or not labels:
        raise wrong('it needs "uri", a path, and "labels", the statements for each detector.')
    try:
        statements = {name: dict(_statements(name, said)) for name, said in labels.items()}
    except ValueError as error:
        raise wrong(str(error)) from None
    return Labelled(buckets.normalize(uri if "://" in uri else str(path.parent / uri)), n, statements)


def _statements(detector: str, said: Any) -> Iterator[tuple[str, Statement]]:
    if detector not in names():
        raise ValueError(f"there is no detector {detector!r}; there are {', '.join(names())}. Correct its spelling.")
    if not isinstance(said, dict) or not said:
        raise ValueError(f'{detector!r} needs its labels, as in {{"{detector}": {{"LABEL": true}}}}.')
    for label, value in said.items():
        if isinstance(value, list) and value and all(isinstance(name, str) and name for name in value):
            if len(set(value)) < len(value):
                raise ValueError(f"{detector}.{label}: a person is named twice. Name each person once.")
            value = tuple(value)
        elif not isinstance(value, bool | int | str) or (not isinstance(value, bool | str) and value < 0):
            raise ValueError(
                f"{detector}.{label} is {json.dumps(value)}. Say true or false, a number of them, a text, or a list of "
                "people's names."
            )
        if label == ANY and not isinstance(value, bool):
            raise ValueError(f'{detector}: "{ANY}" stands for every label; say true or false of it.')
        yield label, value
