"""A file of a report: its facts, what was found in it and decided on it, and its picture."""

import io
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from cluster.decisions.api_types import Decision
from cluster.filters.wording import clock, format_bytes
from cluster.records import Pictures
from deployments.access import blurring
from deployments.catalog.shapes import Json
from deployments.reports.content import DetectorFindings, Entry, Pair, Row, moment
from deployments.reports.originals import State

MOST_TEXT = 500  # characters of a text that was read or heard
QUALITY = 85


def entry(number: int, line: Json, state: State, pictures: Pictures) -> Entry:
    """A file of a report from a line of Catalog.report_part and the state of its bytes."""
    decision: Decision | None = line["decision"]
    return Entry(
        number=number,
        name=line["name"],
        facts=tuple(_facts(line, state)),
        bytes_say=state.says,
        sound=state.sound,
        findings=tuple(_findings(line["findings"])),
        errors=tuple(f"{error['step']}: {error['reason']}" for error in line["errors"]),
        decision=str(decision.label) if decision else "",
        history=tuple(_entry(one) for one in reversed(line["history"])),
        picture=None if line["jpeg"] is None or pictures == "none" else picture(line["jpeg"], pictures),
    )


def _facts(line: Json, state: State) -> Iterable[Pair]:
    yield "Address", line["uri"]
    if line["parent"]:
        yield "Contained in", line["parent"]
    size = line["size"]
    yield "Size", format_bytes(size) + (f" ({size:,} bytes)" if size >= 1000 else "")
    yield "SHA-256", state.sha256 or "unknown: it could not be read"
    kind = [line["kind"] or "unknown"]
    if line["width"]:
        kind.append(f"{line['width']} x {line['height']} px")
    if line["duration_s"] is not None:
        kind.append(f"length {clock(line['duration_s'])}")
    yield "Kind", ", ".join(kind)
    by = f", by {', '.join(line['jobs'])}" if line["jobs"] else ""  # none that the caller may see
    yield "Analysed", f"{moment(line['analyzed_at'])}{by}"
    if line["segments"]:
        yield "Segments", f"{line['segments_done']} of {line['segments']} are analysed"


def _findings(findings: list[Json]) -> Iterable[DetectorFindings]:
    """The findings by detector and model; they are sorted by detector."""
    for (detector, total), group in groupby(findings, key=lambda one: (one["detector"], one["total"])):
        listed = list(group)
        note = ""
        if len(listed) < total:
            note = f"{len(listed)} of {total:,} are listed, of each label the surest first. Exports have all."
        models = dict.fromkeys(one["model"] for one in listed)  # several for a film that was scanned again in part
        for model in models:
            rows = tuple(_finding(one) for one in listed if one["model"] == model)
            yield DetectorFindings(detector, model, rows, note)


def _finding(one: Json) -> Row:
    span, text = one["span"], one["text"] or ""
    when = f"{clock(span[0])} to {clock(span[1])}" if span else clock(one["time_s"])
    cut = text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]} … ({len(text):,} characters)"
    why = [f"({one['evidence']})" if one["evidence"] else "", "(as in the frame before)" if one["carried"] else ""]
    return one["label"], f"{one['score']:.2f}", when, " ".join(filter(None, [cut, *why]))


def _entry(decision: Decision) -> Row:
    who = f"{decision.who} ({decision.subject})" if decision.subject else decision.who
    label = str(decision.label)
    if decision.undo:
        label = f"taken back: {decision.label} holds again" if decision.label else "taken back"
    return moment(decision.at), who, label, ", ".join(decision.tags), decision.note


def picture(jpeg: Any, pictures: Pictures) -> bytes | None:
    """The thumbnail as the report shows it, without metadata; None if it cannot be read.

    Blurred, its pixels are averaged before they are stored: nothing can be computed back.
    """
    from PIL import Image

    try:
        if pictures == "blurred":
            return blurring.blurred(jpeg, None)
        sink = io.BytesIO()
        Image.open(io.BytesIO(jpeg)).convert("RGB").save(sink, "JPEG", quality=QUALITY)
        return sink.getvalue()
    except OSError:  # Pillow's of a picture that is none, or cut off
        return None
