"""What the figures of the Overview page show, and where each of their values leads. Pure functions."""

from calendar import monthrange
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from app import draw
from app.address import Pairs
from app.browsing import reasons
from app.language.formats import day, month, number
from app.language.texts import N_, _
from cluster.api_job_types import OTHER_REASONS, DetectorUsage, LeftOutGroup
from cluster.api_types import FailureGroup
from cluster.cases.overview import BINS, Day, DetectorFindings
from cluster.records import Kind

MOST_COLUMNS = 62  # days, or else months, that fit beside each other
LONGEST = 60  # characters of a label in a chart
SECONDS = N_("seconds")  # the unit of a figure
FILES = N_("files")  # the unit of another one
CHOSEN = ("detector", "label", "detector_label", "min_score")  # parameters of Browse that choose detections


@dataclass(frozen=True, slots=True)
class Row:
    """A value of a figure. `to`: parameters of the page that lists these files."""

    label: str
    value: float
    to: Pairs
    color: str = ""  # #rrggbb; empty: that of the theme
    note: str = ""  # shown with the value: a cost, an example


@dataclass(frozen=True, slots=True)
class Figure:
    """Values with a title. `unit`: what is counted, in English. `upright`: as columns in a given order, as days.

    `page`: that lists the files of its values; the Browse page has the path "".
    """

    name: str  # unique on the page
    title: str
    unit: str
    rows: tuple[Row, ...]
    upright: bool = False
    help: str = ""
    page: Literal["", "left_out"] = ""

    @property
    def described(self) -> str:
        """The figure in words, for who does not see it."""
        digits = 1 if self.unit == SECONDS else 0
        values = (f"{row.label} {number(row.value, digits)}" for row in self.rows if row.value)
        return f"{self.title}, {_(self.unit)}: {', '.join(values)}"


def leads_to(base: Pairs, *pairs: tuple[str, str]) -> Pairs:
    """The parameters of Browse with these replaced. A choice of detections replaces the whole former choice."""
    names = {name for name, _ in pairs}
    names |= set(CHOSEN) if names & set(CHOSEN) else set()
    return [pair for pair in base if pair[0] not in names] + [pair for pair in pairs if pair[1]]


def kinds(counts: Mapping[Kind, int], base: Pairs) -> Figure:
    """Files by kind."""
    rows = [Row(_(kind), count, leads_to(base, ("kind", kind))) for kind, count in counts.items()]
    return Figure("kinds", _("Kinds"), FILES, _largest_first(rows))


def days(found: Sequence[Day], base: Pairs) -> Figure:
    """Files by the day of their newest analysis, or by month or year if there are many days."""
    counts: dict[str, int] = {}
    span = (found[-1].day - found[0].day).days + 1 if found else 0
    length, title = 4, _("Scanned, by year")
    if span <= MOST_COLUMNS:
        length, title = 10, _("Scanned, by day")
    elif span <= 31 * MOST_COLUMNS:
        length, title = 7, _("Scanned, by month")
    for n in range(span):  # a day without files is an empty column
        counts.setdefault(_day(found[0].day, n)[:length], 0)
    for each in found:
        counts[each.day.isoformat()[:length]] += each.files
    rows = tuple(Row(_shown(when), count, [*base, *_scanned(when)]) for when, count in counts.items())
    return Figure("days", title, FILES, rows, upright=True, help=_("The newest scan of each file, UTC."))


def _shown(when: str) -> str:
    """A day, month or year, as the beginning of a date in ISO 8601, in the reader's language."""
    first = date.fromisoformat(f"{when}-01-01"[:10])
    return day(first) if len(when) == 10 else month(first) if len(when) == 7 else when


def _day(first: date, n: int) -> str:
    return (first + timedelta(days=n)).isoformat()


def _scanned(when: str) -> Pairs:
    """The conditions on the time of scan for a day, month or year, as the beginning of a date in ISO 8601."""
    first, last = f"{when}-01-01"[:10], when
    if len(when) < 10:
        year, month = int(when[:4]), int(when[5:7] or 12)
        last = f"{year}-{month:02}-{monthrange(year, month)[1]}"
    return [("where", f"scanned>={first}"), ("where", f"scanned<={last}")]


def failures(groups: Sequence[FailureGroup], others: int, base: Pairs) -> Figure:
    """Failures by reason."""
    rows = [
        Row(f"{group.step}: {group.reason}", group.count, [*base, ("where", reasons.condition(group.reason))])
        for group in groups
    ]
    rows += [Row(_("other reasons"), others, leads_to(base, ("state", "failed")))] if others else []
    help = _("Of a file with several failures, each counts.")
    return Figure("failures", _("Failed, by reason"), N_("failures"), tuple(rows), help=help)


def left_out(groups: Sequence[LeftOutGroup], case: Pairs) -> Figure:
    """Files and folders that the newest scans left out, by reason and suffix. Browse does not have them."""
    rows = tuple(
        Row(
            f"{group.suffix or _('no suffix')}: {group.reason}",
            group.count,
            [*case, *_of_group(group)],
            note=_("such as {example}", example=group.examples[0]),
        )
        for group in groups
    )
    return Figure("left_out", _("Left out, by reason"), N_("files and folders"), rows, page="left_out")


def _of_group(group: LeftOutGroup) -> Pairs:
    return [] if group.reason == OTHER_REASONS else [("reason", group.reason), ("suffix", group.suffix)]


def found_by(detectors: Sequence[DetectorFindings], least: float, base: Pairs, palette: dict[str, str]) -> Figure:
    """Files by the detector that found something in them."""
    rows = [
        Row(one.detector, one.files, _of_detector(base, one.detector, least), draw.color(one.detector, palette))
        for one in detectors
        if one.files
    ]
    return Figure("found_by", _("Found by"), FILES, _largest_first(rows))


def labels(found: DetectorFindings, least: float, base: Pairs, palette: dict[str, str]) -> Figure:
    """Files by a detector's commonest labels."""
    color = draw.color(found.detector, palette)
    rows = tuple(
        Row(
            top.label,
            top.files,
            leads_to(base, ("detector_label", f"{found.detector}:{top.label}"), ("min_score", _score(least))),
            color,
        )
        for top in found.top_labels
    )
    title = _("Labels")
    if found.labels > len(rows):
        title = _("Labels, the {n} commonest of {total}", n=len(rows), total=number(found.labels))
    return Figure(f"labels {found.detector}", title, FILES, rows)


def scores(found: DetectorFindings, base: Pairs, palette: dict[str, str]) -> Figure:
    """A histogram of the best score of each file by a detector."""
    color = draw.color(found.detector, palette)
    rows = tuple(
        Row(number(bin / BINS, 2), count, _of_detector(base, found.detector, bin / BINS), color)
        for bin, count in enumerate(found.scores)
    )
    help = _("A column leads to the files with its score or a higher one.")
    return Figure(f"scores {found.detector}", _("Best score of a file"), FILES, rows, upright=True, help=help)


def seconds(usages: Iterable[DetectorUsage], base: Pairs, palette: dict[str, str]) -> Figure:
    """The computing time of each detector, with its cost where prices are set."""
    rows = [
        Row(
            usage.detector,
            round(usage.seconds, 1),
            _of_detector(base, usage.detector, 0.0),
            draw.color(usage.detector, palette),
            "" if usage.cost is None else _("cost {cost}", cost=number(usage.cost, 2)),
        )
        for usage in usages
    ]
    return Figure("seconds", _("Computing time"), SECONDS, _largest_first(rows))


def _of_detector(base: Pairs, detector: str, least: float) -> Pairs:
    return leads_to(base, ("detector", detector), ("min_score", _score(least)))


def _score(score: float) -> str:
    return f"{score:g}" if score else ""


def _largest_first(rows: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: (-row.value, row.label)))
