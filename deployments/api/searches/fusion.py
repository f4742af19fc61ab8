"""One ranking of several: the files that are near the top of each come first."""

from collections.abc import Mapping, Sequence
from typing import Any

# Reciprocal rank fusion, and its constant, of Cormack, Clarke and Büttcher (SIGIR 2009). It needs ranks alone: the
# scores of words and of pictures have other scales, and in the embedded profile their vectors lie in other spaces.
K = 60
BOTH = "words and picture"  # `matched` of a file that several rankings have


def fused(rankings: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The hits of all rankings, each {"asset", "score", "matched", ...} and best first.

    The score of a file is the sum of 1 / (K + its place) over the rankings that have it, as a share of the greatest
    sum that there could be. Of a file in several rankings the text and the time are those of the first that has them.
    """
    hits: dict[str, dict[str, Any]] = {}
    for ranking in rankings:
        for place, hit in enumerate(ranking, 1):
            share = (K + 1) / (K + place) / len(rankings)
            known = hits.get(hit["asset"])
            if known is None:
                hits[hit["asset"]] = {**hit, "score": share}
                continue
            known.update(score=known["score"] + share, matched=BOTH)
            known.update({key: value for key, value in hit.items() if known.get(key) is None})
    ranked = sorted(hits.values(), key=lambda hit: -hit["score"])
    return [hit | {"score": round(hit["score"], 4)} for hit in ranked]
