"""The rows of the store of decisions, and what they say together.

Entries are only appended. `stands` is the version of the entry that holds after this one: its own, or of an undo that
of an earlier one (0: none). `below` is the version that held before an entry; it holds again when that entry is undone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.access.identity import Prefixes
from cluster.decisions.api_types import Decision
from cluster.records import iso_time

SCHEMA = """create table if not exists decisions(n integer primary key autoincrement, asset text, version integer,
        uri text, parent text, label text, tags text, note text, who text, owner text, subject text, at real,
        models text, undo integer, stands integer, below integer, latest integer, unique(asset, version));
    create index if not exists by_latest on decisions(latest, n);
    create index if not exists by_time on decisions(at);
    create table if not exists locks(asset text primary key, owner text, expires_at real)"""

# The decisions that hold, as a table of the same columns: with the number and version of their file's latest entry.
PRESENT = """(select latest.n, latest.version, held.asset, held.uri, held.parent, held.label, held.tags, held.note,
        held.who, held.owner, held.subject, held.at, held.models, held.undo
    from decisions latest join decisions held on held.asset = latest.asset and held.version = latest.stands
    where latest.latest) as decisions"""


@dataclass(frozen=True, slots=True)
class MediaFile:
    """The file that a decision is about, and the models of what is found in it, by detector."""

    asset: str
    uri: str
    parent: str | None  # of a member: URI of the file of the bucket that contains it
    models: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Conflict:
    """The present decision on a file is not the one that a writer saw, but this one; None: there is none."""

    present: Decision | None


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one reviewer has decided last on a file, and has not taken back."""

    owner: str
    who: str
    label: str


def as_decision(row: Mapping[str, Any]) -> Decision:
    """The decision of an entry."""
    return Decision(
        at=iso_time(row["at"]),
        tags=tuple(json.loads(row["tags"])),
        models=json.loads(row["models"]),
        undo=bool(row["undo"]),
        **{name: row[name] for name in ("asset", "uri", "version", "label", "note", "who", "subject")},
    )


def standing(entries: Mapping[int, Mapping[str, Any]]) -> list[Opinion]:
    """The opinions that hold in the entries of one file (version -> entry), the first reviewer's first."""
    opinions: dict[str, Opinion] = {}
    version = entries[max(entries)]["stands"]
    while version:  # from the present entry down to those it stands on
        entry = entries[version]
        opinions.setdefault(entry["owner"], Opinion(entry["owner"], entry["who"], entry["label"]))
        version = entry["below"]
    return [*opinions.values()][::-1]


def within(prefixes: Prefixes) -> tuple[str, list[Any]]:
    """The SQL condition on entries whose file the prefixes contain, as Identity.sees has it; and its values."""
    if prefixes is None:
        return "true", []
    condition = """exists (select 1 from json_each(?) p
        where decisions.uri = p.value or decisions.parent = p.value  -- json_each has a column `parent`, too
            or substr(decisions.uri, 1, length(p.value) + 1) = p.value || '/')"""
    return condition, [json.dumps(list(prefixes))]
