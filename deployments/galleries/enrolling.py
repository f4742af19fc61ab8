"""Which pictures can enrol a person: those in which the detector finds exactly one face that it can recognise."""

from collections.abc import Collection
from dataclasses import dataclass

from cluster.errors import SettingsError
from deployments.galleries.watchlist import FACE


@dataclass(frozen=True, slots=True)
class Seen:
    """A detection of the detector face in the picture."""

    label: str
    score: float
    evidence: str | None


def flaw(seen: Collection[Seen]) -> str | None:
    """Why a picture cannot enrol anybody, with what to do; None if it can."""
    faces = [detection for detection in seen if detection.label == FACE]
    good = [face for face in faces if not face.evidence]
    if not faces:
        return "no face was found in it. Give a photo that shows the face larger, from the front"
    if not good:
        best = max(faces, key=lambda face: face.score)
        return f"its face has {best.evidence}. Give a better photo"
    if len(good) > 1:
        return f"{len(good)} faces were found in it. Crop it to one face"
    return None


def others(seen: Collection[Seen], name: str) -> set[str]:
    """The enrolled people, other than `name`, whom the picture may show."""
    return {detection.label for detection in seen} - {FACE, name}


def check_name(name: str) -> None:
    """Raise SettingsError if the name is the label of every face."""
    if name.lower() == FACE:
        raise SettingsError(f"{name!r} is the label of every face. Choose another name.")
