"""Convert responses of the API to the data that the components draw. Pure functions."""

import re
from collections.abc import Iterable, Sequence
from typing import TypedDict
from urllib.parse import urlencode

from app import address
from app.address import Pairs
from app.language.formats import number
from app.language.texts import N_, _
from cluster.api_types import Asset, Box, Failure, Hit, Upload
from cluster.filters.wording import clock

# distinguishable with colour vision deficiency, after Okabe and Ito, "Color Universal Design" (2008)
_PALETTE = ("#e69f00", "#56b4e9", "#00a87e", "#cc79a7", "#e0cf3a", "#d55e00", "#5b8def", "#b18cff", "#8bc34a")
_OTHER = "#93a1a8"

SPEECH = "whisper"  # the detector of what is said
CUE = "cue: "  # prefix of labels that are hints for a human check, not findings
CUES = N_("Restraint cues are hints for a human check. How many are missed is unknown, and most hits are false.")


class Chip(TypedDict):
    """A label with its score, in its detector's colour."""

    text: str
    score: str
    color: str


class DrawnBox(TypedDict):
    """A box in percent of the picture's width and height. `time`: of its frame in seconds; None in a still image."""

    left: float
    top: float
    width: float
    height: float
    text: str
    detector: str
    score: float
    color: str
    time: float | None


class Tile(TypedDict):
    """A file in the gallery. `ratio`: width / height; no box is drawn if it is None.

    `more`: further pictures of a tile that shows several, beside each other; None: it shows one.
    """

    id: str
    name: str
    href: str
    like: str  # URL of the search for files that look like it; empty: there is nothing to compare
    picture: str
    more: list[str] | None
    kind: str
    length: str
    ratio: float | None
    boxes: list[DrawnBox]
    chips: list[Chip]
    cross: str
    failed: str
    note: str


def colors(detectors: Iterable[str]) -> dict[str, str]:
    """Detector -> colour (#rrggbb). It depends only on the set of names, so it is the same on every page."""
    names = sorted(set(detectors))
    return {name: _PALETTE[place % len(_PALETTE)] for place, name in enumerate(names)}


def color(detector: str, palette: dict[str, str]) -> str:
    """The detector's colour; grey for one that is no longer served."""
    return palette.get(detector, _OTHER)


def escape(text: str) -> str:
    """Escape text from a file or its name: Streamlit's markdown shows it literally, on one line.

    Character references do not stop it from linking URLs; an invisible word joiner (U+2060) in them does.
    """
    flat = re.sub(r"\s+", " ", text)
    unlinked = re.sub(r"(?i)(https?:)(?=//)|(www)(?=\.)|(@)(?=\w)", "\\g<0>\u2060", flat)
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$:&=^@/])", lambda found: f"&#{ord(found[1])};", unlinked)


def picture(file: Asset | Upload) -> str:
    """The URL of a file's thumbnail; empty if there is none. Each analysis changes it, so browsers may cache it."""
    if isinstance(file, Upload) or not file.has_thumbnail:
        return ""
    return f"/api/thumb/{file.id}?{urlencode({'v': file.analyzed_at})}"


def tile(
    asset: Asset, palette: dict[str, str], context: Pairs, note: str = "", at: float | None = None, play: bool = False
) -> Tile:
    """A file as a tile. `context`: the list it is shown in, for the link; `at`, `play`: as of `address.file`."""
    return {
        "id": asset.id,
        "name": asset.name,
        "href": address.file(asset.id, context, at, play),
        "like": address.like(asset.id, context) if asset.has_thumbnail else "",
        "picture": picture(asset),
        "more": None,
        "kind": asset.kind or "unknown",
        "length": clock(asset.duration_s) if asset.kind != "image" else "",
        "ratio": ratio(asset),
        "boxes": [drawn(box.box, box.label, box.score, box.detector, None, palette) for box in asset.boxes],
        "chips": [
            {
                "text": times(label.label, label.count),
                "score": number(label.score, 2),
                "color": color(label.detector, palette),
            }
            for label in asset.labels
        ],
        "cross": "" if not asset.errors else _("Partly failed") if asset.labels else _("Failed"),
        "failed": "; ".join(failures(asset.errors)),
        "note": note,
    }


def hit_tile(hit: Hit, palette: dict[str, str], context: Pairs) -> Tile:
    """A search hit as a tile, with a note on how it matched."""
    note = matched(hit.matched)
    if hit.time_s is not None:
        note = _("{match} at {time}", match=note, time=clock(hit.time_s))
    if hit.text:
        note = f"{note}: {_('“{}”').format(shorten(hit.text))}"
    note = f"{note} · {number(hit.score, 2)}"
    is_heard = hit.matched == "speech" or hit.detector == SPEECH  # exact words may also have been said
    return tile(hit.asset, palette, context, note, hit.time_s, play=is_heard and hit.time_s is not None)


def matched(how: str) -> str:
    """The text for how a hit matched."""
    words = {
        "exact text": _("Exact words"),
        "text": _("Similar text"),
        "speech": _("Spoken"),
        "picture": _("Picture"),
        "image": _("Looks alike"),
        "face": _("Same face"),
        "words and picture": _("Words and picture"),
    }
    return words.get(how, how)


def shorten(text: str, most: int = 90) -> str:
    """Cut text to at most `most` characters, with an ellipsis at the end."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def failures(errors: Sequence[Failure]) -> list[str]:
    """Each failure as one line: the step and the reason."""
    return [f"{error.step}: {error.reason}" for error in errors]


def ratio(file: Asset | Upload) -> float | None:
    """Width / height; None if the size is unknown."""
    return file.width / file.height if file.width and file.height else None


def times(label: str, count: int) -> str:
    """A label, with its number if there are several."""
    return f"{label} x{count}" if count > 1 else label


def drawn(box: Box, label: str, score: float, detector: str, time: float | None, palette: dict[str, str]) -> DrawnBox:
    """Convert a box (left, top, right, bottom; 0..1) to percent, clipped to the frame. `time` is in seconds."""
    left, top, right, bottom = (min(1.0, max(0.0, side)) for side in box)
    return {
        "left": round(left * 100, 2),
        "top": round(top * 100, 2),
        "width": round(max(0.0, right - left) * 100, 2),
        "height": round(max(0.0, bottom - top) * 100, 2),
        "text": f"{shorten(label, 40)} {number(score, 2)}",
        "detector": detector,
        "score": score,
        "color": color(detector, palette),
        "time": time,
    }
