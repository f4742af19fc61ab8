"""The result of an evaluation: every label with its measures and its worst mistakes."""

from dataclasses import dataclass, fields, is_dataclass
from pathlib import PurePath
from typing import Any

from cluster.results.measured import Measure, Measured
from pipelines.evaluation.comparisons import Counts, Edits, Verification
from pipelines.evaluation.measures import Figure, Presence


@dataclass(frozen=True, slots=True)
class Example:
    """A mistake, as the report shows it."""

    uri: str
    score: float | None  # None: no detection was kept
    said: str  # what was found or labelled, in words
    thumbnail: bytes | None


@dataclass(frozen=True, slots=True)
class Text:
    """The recognised text of one file against its reference text."""

    uri: str
    edits: Edits
    rate: float | None  # None: the reference text is empty
    thumbnail: bytes | None


@dataclass(frozen=True, slots=True)
class Judged:
    """The measures of one label of one detector."""

    detector: str
    label: str
    models: tuple[str, ...]
    profiles: tuple[str, ...]  # profiles that have these models; empty: unknown
    floor: float | None  # of the detector's current config; weaker detections were not stored
    presence: Presence
    false_positives: tuple[Example, ...]
    false_negatives: tuple[Example, ...]
    counts: Counts | None
    miscounted: tuple[Example, ...]
    unit: str  # of the error rate: words or characters
    error_rate: Figure | None
    invented: Figure | None  # share of files without text in which text was found
    texts: tuple[Text, ...]
    verification: Verification | None
    faceless: int  # files labelled with people that have no face with a vector
    note: str

    @property
    def more(self) -> list[tuple[str, Figure, str]]:
        """The measures beyond presence: name, figure, and what the figure is a share of."""
        found: list[tuple[str, Figure | None, str]] = []
        if not self.presence.positives:
            found.append(("false alarms", self.presence.false_alarms, "files without it"))
        rate = self.error_rate
        name = "word error rate" if self.unit == "words" else "character error rate"
        found.append((name, rate, f"{self.unit}, {len(self.texts)} texts"))
        found.append(("text where there is none", self.invented, "files"))
        if self.counts:
            found.append(("counted right", self.counts.exact, f"files; {self.counts.wrong}"))
        if told := self.verification:
            for name, at in (("told apart at", told.in_use), ("at best, told apart at", told.best)):
                if at:
                    found.append((f"{name} {at.distance:.2f}", at.accuracy, "pairs of files"))
            found.append(("equal error rate", told.equal_error, ""))
        return [(name, figure, of) for name, figure, of in found if figure]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Files that are not counted for a detector, and the reason."""

    detector: str
    why: str
    uris: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that was measured."""

    made_at: str
    labels: str
    results: str
    files: int
    base_rate: float | None
    thresholds: dict[str, float]
    judged: tuple[Judged, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def models(self) -> dict[str, list[str]]:
        """The models that answered, by detector."""
        return self._by_detector("models")

    @property
    def profiles(self) -> dict[str, list[str]]:
        """The profiles to which these models belong, by detector."""
        return self._by_detector("profiles")

    def _by_detector(self, what: str) -> dict[str, list[str]]:
        found: dict[str, set[str]] = {}
        for one in self.judged:
            found.setdefault(one.detector, set()).update(getattr(one, what))
        return {detector: sorted(of) for detector, of in found.items()}


def measured(evaluation: Evaluation) -> list[Measured]:
    """The measures to keep: of labels that one model alone has answered for, those that have a value."""
    found = []
    for one in evaluation.judged:
        if len(one.models) != 1:
            continue
        shares = {"precision": one.presence.precision, "recall": one.presence.recall}
        shares |= {"false alarms": one.presence.false_alarms} | {name: figure for name, figure, _ in one.more}
        measures = [
            Measure(name=name, value=share.value, low=share.low, high=share.high, hits=share.hits, of=share.of)
            for name, share in shares.items()
            if share.value is not None
        ]
        kept = Measured(
            detector=one.detector,
            model=one.models[0],
            label=one.label,
            threshold=one.presence.threshold,
            files_with=one.presence.positives,
            files_without=one.presence.negatives,
            measures=tuple(measures),
            made_at=evaluation.made_at,
            labels=PurePath(evaluation.labels).name,
        )
        found.append(kept)
    return found


def plain(thing: Any) -> Any:
    """Dataclasses as values for json, without thumbnails and without the single edits of texts."""
    if is_dataclass(thing):
        kept = (field.name for field in fields(thing) if field.name not in ("thumbnail", "steps"))
        return {name: plain(getattr(thing, name)) for name in kept}
    if isinstance(thing, dict):
        return {key: plain(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [plain(one) for one in thing]
    return round(thing, 6) if isinstance(thing, float) else thing


def digits(number: float) -> str:
    """Two decimals, such as 0.97; for small numbers two significant digits, such as 0.0079."""
    return f"{number:.2f}" if number >= 0.1 or number < 0.00005 else f"{number:.2g}"


def value(figure: Figure) -> str:
    """The figure as text, such as 0.97; a dash if it has no value."""
    return "-" if figure.value is None else digits(figure.value)


def around(figure: Figure) -> str:
    """The figure and, on a second line, its 95 % interval."""
    if figure.value is None or figure.low is None or figure.high is None:
        return value(figure)
    return f"{value(figure)}\n{digits(figure.low)}-{digits(figure.high)}"
