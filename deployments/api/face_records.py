"""What the audit log holds of comparisons of faces: the model that made them, and each match with its score."""

from collections.abc import Mapping
from typing import Any

from cluster.access.identity import Identity
from cluster.api_types import Hits
from cluster.records import ModelVersion, Result
from deployments.galleries.watchlist import FACE

FILES_A_VALUE = 25  # in one value of a record, which holds 1000 characters


def of_upload(result: Result) -> dict[str, str]:
    """The fields of a record about an analysed upload: `model`, and the enrolled people that it found."""
    faces = [finding for finding in result.findings if finding.detector == "face"]
    best: dict[str, float] = {}
    for label, score in ((finding.detection.label, finding.detection.score) for finding in faces):
        if label != FACE:
            best[label] = max(score, best.get(label, 0.0))
    people = "; ".join(f"{label} {score:.2f}" for label, score in best.items())
    return {"model": faces[0].model if faces else "", "matches": people}


async def record_matches(
    access: Any, models: Mapping[str, ModelVersion], who: Identity, of: str, where: str, hits: Hits
) -> None:
    """Record the files that a search by a face has found, with their scores. `of`: id or SHA-256 of what it showed."""
    found = [f"{hit.asset.id} {hit.score:.2f}" for hit in hits.hits]
    matches = [" ".join(found[at : at + FILES_A_VALUE]) for at in range(0, len(found), FILES_A_VALUE)]
    if matches:
        model = models["face"].model if "face" in models else ""
        await access.record.remote(who, "faces matched", of, where, model=model, matches=matches)
