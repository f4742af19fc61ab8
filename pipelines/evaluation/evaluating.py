"""Evaluation of the detectors' answers against labels: all measures, and the worst mistakes."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from cluster.records import Modality
from deployments.detector import DetectorConfig, detector_class
from pipelines.evaluation.answers import Answers
from pipelines.evaluation.comparisons import Verification, character_edits, counts, error_rate, verification, word_edits
from pipelines.evaluation.labelling import ANY, Labelled, Statement
from pipelines.evaluation.measures import presence, share
from pipelines.evaluation.verdicts import Evaluation, Example, Judged, LeftOut, Text

EXAMPLES = 6  # of false positives, and of false negatives, in the report
SEEN: Mapping[str, frozenset[Modality]] = {  # modalities of a file by kind; text may be read or heard in any
    "image": frozenset({"image", "text"}),
    "video": frozenset({"image", "sound", "text"}),
    "audio": frozenset({"sound", "text"}),
    "container": frozenset({"text"}),
}


@dataclass(frozen=True, slots=True)
class Case:
    """A label of a file that the detector has answered for."""

    uri: str
    statement: Statement
    answers: Answers
    found: list[dict[str, Any]]  # detections of this label at or above the threshold


def evaluate(
    labelled: Sequence[Labelled],
    answers: Mapping[str, Answers],
    thresholds: Mapping[str, float],
    base_rate: float | None,
    settings: Mapping[str, Mapping[str, Any]],
    **facts: str,
) -> Evaluation:
    """Evaluate every detector and label that occurs in the labels; thresholds and settings are by detector's name.

    Without a threshold, all stored detections of a detector count, as in the app by default.
    """
    cases: dict[tuple[str, str], list[Case]] = {}
    left: dict[tuple[str, str], list[str]] = {}
    for one in labelled:
        of = answers.get(one.uri)
        for detector, statements in one.labels.items():
            if why := _unusable(of, detector):
                left.setdefault((detector, why), []).append(one.uri)
                continue
            assert of is not None
            for label, statement in statements.items():
                found = _found(of, detector, label, thresholds.get(detector, 0.0))
                cases.setdefault((detector, label), []).append(Case(one.uri, statement, of, found))
    return Evaluation(
        files=len(labelled),
        base_rate=base_rate,
        thresholds={detector: thresholds.get(detector, 0.0) for detector, _ in sorted(cases)},
        judged=tuple(
            _judged(detector, label, of, thresholds.get(detector, 0.0), base_rate, settings.get(detector, {}))
            for (detector, label), of in sorted(cases.items())
        ),
        left_out=tuple(LeftOut(detector, why, tuple(uris)) for (detector, why), uris in sorted(left.items())),
        **facts,
    )


def _unusable(of: Answers | None, detector: str) -> str | None:
    if of is None:
        return "it is not in the results"
    if why := of.unreadable():
        return f"it could not be read: {why}"
    if detector not in of.models:
        return of.why_silent(detector)
    if not SEEN.get(of.kind or "", frozenset()) & detector_class(detector).modalities:
        return "it has no content that this detector analyses"
    return None


def _found(of: Answers, detector: str, label: str, threshold: float) -> list[dict[str, Any]]:
    named = (one for one in of.detections[detector] if label in (ANY, one["label"]))
    return [one for one in named if _score(one) >= threshold]


def _score(detection: Mapping[str, Any]) -> float:
    return round(detection["score"], 6)  # stored in single precision, in which 0.7 is less than 0.7 in double


def _judged(
    detector: str,
    label: str,
    cases: list[Case],
    threshold: float,
    base_rate: float | None,
    given: Mapping[str, Any],
) -> Judged:
    models = tuple(sorted({case.answers.models[detector] for case in cases}))
    configs = [config for model in models if (config := _config(detector, model, given))]
    best = {case.uri: _best(_found(case.answers, detector, label, 0.0)) for case in cases}
    wrong = [case for case in cases if bool(case.found) is not _is_present(case.statement)]
    texts, unit = _texts(detector, cases)
    people, faceless = _people(cases)
    counted = [case for case in cases if _number(case) is not None]
    pairs = [(_number(case) or 0, _most_at_once(case)) for case in counted]
    silent = [text for text in texts if text.rate is None]
    return Judged(
        detector,
        label,
        models,
        tuple(sorted({config.backend for config in configs})),
        min((config.floor for config in configs), default=None),
        presence(
            [_is_present(case.statement) for case in cases],
            [_score_of(best[c.uri]) for c in cases],
            threshold,
            base_rate,
        ),
        _examples([case for case in wrong if case.found], best, worst_first=True),
        _examples([case for case in wrong if not case.found], best, worst_first=False),
        counts(pairs) if pairs else None,
        tuple(
            Example(case.uri, None, f"{there} labelled, {found} found", case.answers.thumbnail)
            for case, (there, found) in zip(counted, pairs, strict=True)
            if there != found
        )[: 2 * EXAMPLES],
        unit,
        error_rate([text.edits for text in texts]) if texts else None,
        share(sum(text.edits.insertions > 0 for text in silent), len(silent)) if silent else None,
        tuple(sorted(texts, key=lambda text: (text.rate is None, -(text.rate or 0.0)))),
        _verified(people, configs) if people else None,
        faceless,
        _note(detector, label, cases),
    )


def _is_present(statement: Statement) -> bool:
    return bool(statement.strip() if isinstance(statement, str) else statement)


def _best(found: list[dict[str, Any]]) -> dict[str, Any] | None:
    return max(found, key=_score, default=None)


def _score_of(detection: Mapping[str, Any] | None) -> float | None:
    return None if detection is None else _score(detection)


def _examples(cases: list[Case], best: Mapping[str, Any], worst_first: bool) -> tuple[Example, ...]:
    scored = [(_score_of(best[case.uri]), case) for case in cases]
    scored.sort(key=lambda pair: -1.0 if pair[0] is None else pair[0], reverse=worst_first)
    return tuple(
        Example(case.uri, score, _summary(best[case.uri]), case.answers.thumbnail) for score, case in scored[:EXAMPLES]
    )


def _summary(detection: Mapping[str, Any] | None) -> str:
    if detection is None:
        return "nothing was found"
    return " · ".join(str(detection[key]) for key in ("label", "text", "evidence") if detection[key])


def _number(case: Case) -> int | None:
    """The labelled number of objects, None if there is none. People in a video need not be in one frame."""
    if isinstance(case.statement, tuple):
        return len(case.statement) if case.answers.kind == "image" else None
    return case.statement if isinstance(case.statement, int) and not isinstance(case.statement, bool) else None


def _most_at_once(case: Case) -> int:
    at: dict[float | None, int] = {}
    for one in case.found:
        at[one["time_s"]] = at.get(one["time_s"], 0) + 1
    return max(at.values(), default=0)


def _texts(detector: str, cases: list[Case]) -> tuple[list[Text], str]:
    """Texts with their edits: speech by words, OCR by characters. Equal lines of a video count once."""
    heard = "sound" in detector_class(detector).modalities
    texts = []
    for case in cases:
        if isinstance(case.statement, str):
            lines = [one["text"] or "" for one in case.found]
            if case.answers.kind == "video" and not heard:
                lines = list(dict.fromkeys(lines))
            edits = (word_edits if heard else character_edits)(case.statement, " ".join(lines))
            rate = edits.wrong / edits.of if edits.of else None
            texts.append(Text(case.uri, edits, rate, case.answers.thumbnail))
    return texts, "words" if heard else "characters"


def _people(cases: list[Case]) -> tuple[list[tuple[frozenset[str], list[npt.NDArray[np.float64]]]], int]:
    """Names and face vectors of each file labelled with people; and the number of files without vectors."""
    named = [
        (
            frozenset(case.statement),
            [
                np.asarray(vector["values"], float)
                for one in case.found
                for vector in one["vectors"] or ()
                if vector["space"] == "faces"
            ],
        )
        for case in cases
        if isinstance(case.statement, tuple)
    ]
    return named, sum(not vectors for _, vectors in named)


def _verified(
    people: list[tuple[frozenset[str], list[npt.NDArray[np.float64]]]], configs: Iterable[DetectorConfig]
) -> Verification:
    distances, same = [], []
    for (who, faces), (whom, others) in combinations(people, 2):
        apart = [float(np.linalg.norm(a - b)) for a in faces for b in others if len(a) == len(b)]
        if apart:
            distances.append(min(apart))
            same.append(bool(who & whom))
    in_use = next((float(config.distance) for config in configs if hasattr(config, "distance")), None)
    return verification(distances, same, in_use)


def _config(detector: str, model: str, given: Mapping[str, Any]) -> DetectorConfig | None:
    """The current config of the backend that has this model, None if none has."""
    kind = detector_class(detector)
    for backend in kind.backends:
        with suppress(ValidationError):  # what the operator set may fit only the other backend
            config = kind.Config(**{"backend": backend} | dict(given))
            if model == config.model or model.startswith(f"{config.model} "):
                return config
    return None


def _note(detector: str, label: str, cases: list[Case]) -> str:
    called = sorted({one["label"] for case in cases for one in case.answers.detections[detector]})
    if label == ANY or label in called or not (called or any(_is_present(case.statement) for case in cases)):
        return ""
    return f"No detection here is labelled “{label}”. The detector's labels: {', '.join(called[:12]) or 'nothing'}."
