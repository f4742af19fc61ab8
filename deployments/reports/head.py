"""The head of a report: its case, who made it, the selection in words, and how many files there are."""

from collections.abc import Sequence

from cluster.access.identity import Identity
from cluster.api_queries import ReportQuery
from cluster.cases.case import Case, common
from cluster.cases.overview import JobsOverview, Overview
from cluster.decisions.rules import UNDECIDED
from cluster.filters import wording
from cluster.filters.wording import counted
from deployments.reports.content import Head, Pair, moment

_PICTURES = {"blurred": "blurred", "plain": "not blurred", "none": "none"}


def head(
    query: ReportQuery,
    case: Case | None,
    who: Identity,
    made_at: str,
    files: int,
    overview: Overview,
    jobs: JobsOverview,
) -> Head:
    """The head of a report on `files` files.

    `overview` and `jobs`: of all files of the case that the caller may see; without a case, of all files.
    """
    left_out = sum(group.count for group in jobs.left_out)
    good = overview.total - overview.failed
    whole = "In the case" if case else "In all"
    return Head(
        title=(case.title or case.name) if case else "All files",
        made_at=moment(made_at),
        facts=(*_of_case(case, who), ("Made", moment(made_at)), *_by(who), ("Pictures", _PICTURES[query.pictures])),
        selection=tuple(selection(query)),
        counts=(
            (whole, counted(overview.total + left_out, "file")),
            ("Analysed without an error", counted(good, "file")),
            ("Failed", counted(overview.failed, "file")),
            ("Left out of scans", counted(left_out, "file")),
            ("In this report", counted(files, "file")),
        ),
        failures=tuple((group.step, group.reason, f"{group.count:,}") for group in overview.failures),
        left_out=tuple(_left_out(jobs)),
        notes=tuple(_notes(overview, jobs)),
    )


def _of_case(case: Case | None, who: Identity) -> list[Pair]:
    if case is None:
        return []
    folders = common(case.folders, who.prefixes)
    return [("Case", case.name), ("Folders", "\n".join(folders) or "none")]


def _by(who: Identity) -> list[Pair]:
    by = [("By", f"{who.name}, role {who.role}"), ("Key or session", who.id)]
    if who.subject:
        by.append(("Subject", who.subject))
    if who.prefixes is not None:
        by.append(("May see only", "\n".join(who.prefixes) or "no file"))
    return by


def _left_out(jobs: JobsOverview) -> list[tuple[str, str]]:
    """What was left out, by reason: the groups also tell the suffix, and are many."""
    counts: dict[str, int] = {}
    for group in jobs.left_out:
        counts[group.reason] = counts.get(group.reason, 0) + group.count
    return [(reason, f"{count:,}") for reason, count in counts.items()]


def _notes(overview: Overview, jobs: JobsOverview) -> list[str]:
    notes = []
    if overview.other_failures:
        notes.append(f"Failures with rarer reasons, not listed here: {overview.other_failures:,}.")
    if jobs.running:
        notes.append(f"Jobs that were not over: {len(jobs.running)}. Their files may have come since.")
    if jobs.without_report:
        notes.append(f"Jobs without a readable report: {jobs.without_report}. What they left out is not counted.")
    return notes


def selection(query: ReportQuery) -> list[str]:
    """The filters of a query in words; each of them applies."""
    found = [wording.label("", label) for label in query.label]
    found += [wording.label(*pair.split(":", 1)) for pair in query.detector_label]
    parts = []
    if query.kind:
        parts.append(f"kind is {_any(query.kind)}")
    if query.detector or found or query.min_score is not None:
        by = f" by {_any(query.detector)}" if query.detector else ""
        score = "" if query.min_score is None else f", score from {query.min_score:.2f}"
        parts.append(f"{_any(found) or 'anything'}{by}{score}")
    parts += [_any(wording.alternatives(text)) for text in query.where]
    parts += [f"under {_any(query.under)}"] if query.under else []
    parts += [f"analysed by the job {_any(query.job)}"] if query.job else []
    if query.failed is not None:
        parts.append("failed" if query.failed else "did not fail")
    if query.decision:
        parts.append(_any(["not decided" if one == UNDECIDED else f"decided as {one}" for one in query.decision]))
    parts += [f"decided with the tag {_any(query.tag)}"] if query.tag else []
    parts += [f"one of {counted(len(query.id), 'chosen file')}"] if query.id else []
    parts += ["had arrived when the list was opened"] if query.upto else []
    return parts


def _any(values: Sequence[str]) -> str:
    return " or ".join(values)
