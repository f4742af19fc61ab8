"""From the API's answers to what the components draw; pure functions."""

import re
from collections.abc import Iterable, Sequence
from typing import TypedDict
from urllib.parse import urlencode

from app import address
from app.address import Pairs
from cluster.api_job_types import OVER, JobInfo, Report
from cluster.api_types import Asset, Box, Failure, Hit, Upload

# told apart by eyes that confuse red and green as well, after Okabe and Ito, "Color Universal Design" (2008)
_PALETTE = ("#e69f00", "#56b4e9", "#00a87e", "#cc79a7", "#e0cf3a", "#d55e00", "#5b8def", "#b18cff", "#8bc34a")
_OTHER = "#93a1a8"

CUE = "cue: "  # what labels begin with that are no finding but a reason to look
CUES = "Cues for restraints are hints for somebody to look. How many are missed is unknown, and most hits are false."


class Chip(TypedDict):
    """A label with its score, in its detector's colour."""

    text: str
    score: str
    color: str


class DrawnBox(TypedDict):
    """A box in percent of the picture. Time is None in a still image."""

    left: float
    top: float
    width: float
    height: float
    text: str
    detector: str
    color: str
    time: float | None


class Tile(TypedDict):
    """A file in the gallery. Ratio is width by height; without it no box can be drawn."""

    id: str
    name: str
    href: str
    picture: str
    kind: str
    length: str
    ratio: float | None
    boxes: list[DrawnBox]
    chips: list[Chip]
    cross: str
    failed: str
    note: str


def colors(detectors: Iterable[str]) -> dict[str, str]:
    """A colour for each detector, the same on every page as long as the same detectors are served."""
    names = sorted(set(detectors))
    return {name: _PALETTE[place % len(_PALETTE)] for place, name in enumerate(names)}


def color(detector: str, palette: dict[str, str]) -> str:
    """Its colour; grey for a detector that is no longer served."""
    return palette.get(detector, _OTHER)


def clock(seconds: float | None) -> str:
    """0:07, 12:40, 1:02:03; empty for None."""
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def volume(size: int | None) -> str:
    """A number of bytes as people say it; empty for None."""
    if size is None:
        return ""
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def plain(text: str) -> str:
    """Text of a file or of its name, so that Streamlit's markdown shows it letter by letter on one line.

    Escapes do not keep it from making links of web addresses: an invisible word joiner (U+2060) in them does.
    """
    flat = re.sub(r"\s+", " ", text)
    unlinked = re.sub(r"(?i)(https?:)(?=//)|(www)(?=\.)|(@)(?=\w)", "\\g<0>\u2060", flat)
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$:&=^@/])", lambda found: f"&#{ord(found[1])};", unlinked)


def picture(file: Asset | Upload) -> str:
    """Where the app serves a file's thumbnail; a new analysis gives a new address. Empty when there is none."""
    if isinstance(file, Upload) or not file.has_thumbnail:
        return ""
    return f"/api/thumb/{file.id}?{urlencode({'v': file.analyzed_at})}"


def tile(asset: Asset, palette: dict[str, str], context: Pairs, note: str = "", at: float | None = None) -> Tile:
    """An asset as the gallery shows it. Context is kept in its link: which list it was opened from."""
    return {
        "id": asset.id,
        "name": asset.name,
        "href": address.file(asset.id, context, at),
        "picture": picture(asset),
        "kind": asset.kind or "unknown",
        "length": clock(asset.duration_s) if asset.kind != "image" else "",
        "ratio": ratio(asset),
        "boxes": [drawn(box.box, box.label, box.score, box.detector, None, palette) for box in asset.boxes],
        "chips": [
            {
                "text": _times(label.label, label.count),
                "score": f"{label.score:.2f}",
                "color": color(label.detector, palette),
            }
            for label in asset.labels
        ],
        "cross": "" if not asset.errors else "Partly failed" if asset.labels else "Failed",
        "failed": "; ".join(failures(asset.errors)),
        "note": note,
    }


def hit_tile(hit: Hit, palette: dict[str, str], context: Pairs) -> Tile:
    """A search hit as the gallery shows it, with how it matched."""
    where = f" at {clock(hit.time_s)}" if hit.time_s is not None else ""
    said = f": “{shorten(hit.text)}”" if hit.text else ""
    note = f"{matched(hit.matched)}{where}{said} · {hit.score:.2f}"
    return tile(hit.asset, palette, context, note, hit.time_s)


def matched(how: str) -> str:
    """How a hit matched, in words."""
    words = {"exact text": "Exact words", "text": "Text like it", "speech": "Spoken", "picture": "Picture"}
    return {**words, "image": "Looks alike", "face": "Same face"}.get(how, how)


def shorten(text: str, most: int = 90) -> str:
    """The beginning of a long line."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def failures(errors: Sequence[Failure]) -> list[str]:
    """Each failure as one line: the step and the reason."""
    return [f"{error.step}: {error.reason}" for error in errors]


def progress(job: JobInfo) -> str:
    """How far a scan is, how fast and for how long still, in one line."""
    if job.state in ("waiting", "listing") and job.units is None:
        return "Waiting for its turn" if job.state == "waiting" else "Listing the files"
    if job.units is None:
        return "Nothing was listed"
    parts = [f"{job.done:,} of {job.units:,} files"]
    if job.skipped:
        parts.append(f"{job.skipped:,} were known already")
    seconds = job.seconds
    if job.done and seconds > 0:
        rate = job.done / seconds
        parts.append(f"{rate:.1f} a second" if rate >= 1 else f"{rate * 60:.1f} a minute")
        if job.state == "running":
            parts.append(f"about {clock(job.units / rate - seconds)} left")
    if job.state in OVER and seconds:
        parts.append(f"took {clock(seconds)}")
    return " · ".join(parts)


def spent(report: Report) -> str:
    """What each detector took, as a table in markdown."""
    priced = report.cost is not None
    lines = [f"| Detector | Units | Known already | Seconds | GPU seconds |{' Cost |' if priced else ''}"]
    lines.append("|:--|--:|--:|--:|--:|" + ("--:|" if priced else ""))
    for usage in report.detectors:
        share = f"{usage.reused / usage.units:.0%}" if usage.units else ""
        figures = f"{usage.units:,} | {share} | {usage.seconds:,.1f} | {usage.gpu_seconds:,.1f} |"
        lines.append(f"| {plain(usage.detector)} | {figures}" + (f" {usage.cost:,.2f} |" if priced else ""))
    return "\n".join(lines)


def reasons(report: Report) -> str:
    """What failed, by reason, as a table in markdown."""
    lines = ["| Failed | Step | Reason | For example |", "|--:|:--|:--|:--|"]
    for reason in report.failures:
        columns = (plain(shorten(text, 160)) for text in (reason.step, reason.reason, reason.example))
        lines.append(f"| {reason.units:,} | {' | '.join(columns)} |")
    return "\n".join(lines)


def speed(report: Report) -> str:
    """How fast a job went, what was not looked at again and what it cost, in one line."""
    parts = [f"{report.files_per_s:.2f} files a second", f"{volume(int(report.bytes_per_s))} a second"]
    if report.frames:
        parts.append(f"{report.frames_carried:,} of {report.frames:,} frames were like the one before")
    if report.cost_per_1000_files is not None:
        parts.append(f"cost {report.cost:,.2f}, {report.cost_per_1000_files:,.2f} per 1,000 files")
    return " · ".join(parts)


def ratio(file: Asset | Upload) -> float | None:
    """Width over height; None if the size is not known."""
    return file.width / file.height if file.width and file.height else None


def _times(label: str, count: int) -> str:
    return f"{label} x{count}" if count > 1 else label


def drawn(box: Box, label: str, score: float, detector: str, time: float | None, palette: dict[str, str]) -> DrawnBox:
    """A box as the viewer draws it: position and size in percent of the frame, clipped to it."""
    left, top, right, bottom = (min(1.0, max(0.0, side)) for side in box)
    return {
        "left": round(left * 100, 2),
        "top": round(top * 100, 2),
        "width": round(max(0.0, right - left) * 100, 2),
        "height": round(max(0.0, bottom - top) * 100, 2),
        "text": f"{shorten(label, 40)} {score:.2f}",
        "detector": detector,
        "color": color(detector, palette),
        "time": time,
    }
