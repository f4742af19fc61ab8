"""The end of a report: methods with their error rates, files that have changed, and the chain of custody."""

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import parse_qsl

from cluster.access.audit import Record
from cluster.filters.wording import counted
from cluster.results.measured import Measure, Measured
from deployments.access.custody import REPORTED, Custody
from deployments.catalog.shapes import Json
from deployments.reports.content import Method, Row, Tail, moment

FACES = "face"  # the labels of this detector are names of people


def tail(
    numbers: Mapping[str, int],
    unsound: Sequence[Row],
    methods: Sequence[Json],
    measured: Sequence[Measured],
    custody: Custody,
) -> Tail:
    """The end of a report. `numbers`: id of each of its files -> its number. `methods`: of Catalog.methods."""
    notes = [f"The SHA-256 of this report is in the entry “{REPORTED}”, which follows them."]
    if custody.left_out:
        notes.insert(0, f"Older entries that are not listed here: {custody.left_out:,}.")
    sound = f"{custody.lines:,}, each as it was written"
    fault = f"{custody.fault}. The {custody.lines:,} lines before it are as they were written"
    return Tail(
        files=len(numbers),
        unsound=tuple(unsound),
        methods=tuple(_method(method, measured) for method in methods),
        entries=tuple(_entry(record, numbers) for record in custody.entries),
        log=(("Lines", fault if custody.fault else sound), ("SHA-256 of the last line", custody.last)),
        notes=tuple(notes),
    )


def _method(method: Json, measured: Iterable[Measured]) -> Method:
    detector, model = method["detector"], method["model"]
    facts = (
        ("Threshold", ", ".join(f"{floor:.2f}" for floor in method["floors"]) or "unknown: the scan is older"),
        ("Answered for", counted(method["files"], "file")),
        ("Found something in", f"{counted(method['found_in'], 'file')}, {counted(method['findings'], 'finding')}"),
    )
    # a name that occurs in none of these files may be of another case
    own = [
        one
        for one in measured
        if (one.detector, one.model) == (detector, model) and (detector != FACES or one.label in method["people"])
    ]
    return Method(detector, model, facts, tuple(map(_measures, own)))


def _measures(one: Measured) -> Row:
    threshold = f"{one.threshold:.2f}" if one.threshold else "all that is kept"
    files = f"{one.files_with:,} and {one.files_without:,}"
    return one.label, threshold, files, "\n".join(map(_measure, one.measures)), f"{one.made_at}, {one.labels}"


def _measure(one: Measure) -> str:
    interval = "" if one.low is None or one.high is None else f" ({one.low:.2f} to {one.high:.2f})"
    of = "" if one.hits is None else f", {one.hits:,} of {one.of:,}"
    return f"{one.name} {one.value:.2f}{interval}{of}"


def _entry(record: Record, numbers: Mapping[str, int]) -> Row:
    who = f"{record.get('who', '')} ({record.get('subject') or record.get('role', '')})"
    files = sorted(numbers[asset] for asset in record["assets"])
    about = [] if record.get("of") in record["assets"] else [record.get("of", "")]
    about += [f"file {', '.join(map(str, files))}"] if files else []
    about += [f"{name}={value}" for name, value in parse_qsl(record.get("filters", ""))]
    about += [f"purpose: {record['purpose']}"] if "purpose" in record else []
    about += [f"SHA-256 {record['sha256']}"] if "sha256" in record else []
    return str(record["n"]), moment(record["at"]), who, record["what"], "; ".join(filter(None, about))
