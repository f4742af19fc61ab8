"""The embeddings in committed rows, as a vector store takes them: ids, values, and what to show of a hit."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster.records import asset_id

COLUMNS = ["uri", "detections", "analyzers", "analyzed_at"]  # of a Parquet file, that these functions need
TEXT_CHARS = 500

Answer = tuple[str, str]  # an asset's id and a detector


@dataclass
class Entries:
    """What goes into one collection, in step with each other."""

    ids: list[str] = field(default_factory=list)  # asset:detector:place of the detection in its row
    values: list[npt.NDArray[np.float32]] = field(default_factory=list)
    metadatas: list[dict[str, str | float]] = field(default_factory=list)


def collection_name(space: str, length: int) -> str:
    """Vectors of another length are another model's and cannot be compared."""
    return f"{space}-{length}"


def newest_answers(rows: pa.Table) -> dict[Answer, tuple[float, int]]:
    """For each file and detector that answered for it: when (seconds since 1970), and in which of the rows."""
    newest: dict[Answer, tuple[float, int]] = {}
    columns = (rows[name].to_pylist() for name in ("uri", "analyzed_at", "analyzers"))
    for at, (uri, when, analyzers) in enumerate(zip(*columns, strict=True)):
        for analyzer in analyzers or ():
            answer = (asset_id(uri), analyzer["detector"])
            newest[answer] = max(newest.get(answer, (0.0, 0)), (when.timestamp(), at))
    return newest


def embeddings(rows: pa.Table, answers: dict[Answer, tuple[float, int]]) -> dict[str, Entries]:
    """The vectors of these answers, by the name of their collection."""
    found: dict[str, Entries] = {}
    assets = [asset_id(uri) for uri in rows["uri"].to_pylist()]
    detections = rows["detections"].combine_chunks()
    owners = pc.list_parent_indices(detections).to_numpy()
    starts = np.searchsorted(owners, np.arange(len(rows)))  # where each row's detections begin
    flat = pa.Table.from_struct_array(detections.flatten())
    shown = flat.select(["detector", "label", "text", "time_s", "span"]).to_pylist()
    vectors = flat["vectors"].combine_chunks()
    of_detection = pc.list_parent_indices(vectors).to_numpy()
    parts = pa.Table.from_struct_array(vectors.flatten())
    lengths = pc.list_value_length(parts["values"]).to_numpy()
    numbers = pc.list_flatten(parts["values"]).to_numpy()
    ends = np.cumsum(lengths)
    for at, space in enumerate(parts["space"].to_pylist()):
        d = int(of_detection[at])
        row, seen = int(owners[d]), shown[d]
        stamp, answered_in = answers.get((assets[row], seen["detector"]), (0.0, -1))
        if answered_in != row:
            continue
        entries = found.setdefault(collection_name(space, int(lengths[at])), Entries())
        id = f"{assets[row]}:{seen['detector']}:{d - int(starts[row])}"
        entries.ids.append(f"{id}:{at}" if entries.ids and entries.ids[-1] == id else id)
        entries.values.append(numbers[ends[at] - lengths[at] : ends[at]])
        entries.metadatas.append(_metadata(assets[row], stamp, seen))
    return found


def _metadata(asset: str, stamp: float, seen: dict[str, Any]) -> dict[str, str | float]:
    when = seen["time_s"] if seen["time_s"] is not None else (seen["span"] or (None,))[0]
    metadata = {"asset": asset, "detector": seen["detector"], "label": seen["label"], "analyzed_at": stamp}
    metadata |= {} if when is None else {"time_s": when}
    return metadata | ({} if seen["text"] is None else {"text": seen["text"][:TEXT_CHARS]})
