"""The embeddings in committed rows as records of a vector store: id, values, metadata of a hit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster.records import asset_id, current_space
from cluster.results import files
from cluster.results.newest import KEY, OLDEST, Answer, Key

# the columns of codec.SCHEMA that these functions read
COLUMNS = [*KEY, "uri", "etag", "segment", "segment_s", "detections", "model_versions"]
TEXT_CHARS = 500


@dataclass
class Entries:
    """The records of one collection: three lists of the same length."""

    # asset:detector:index of the detection in its row; for a segment asset:detector:segment:index
    ids: list[str] = field(default_factory=list)
    values: list[npt.NDArray[np.float32]] = field(default_factory=list)
    metadatas: list[dict[str, str | float]] = field(default_factory=list)


def collection_name(space: str, length: int) -> str:
    """The collection of a space's vectors of this length; another length means another model."""
    return f"{space}-{length}"


def embeddings(rows: pa.Table, answers: Mapping[Answer, tuple[Key, int]]) -> dict[str, Entries]:
    """Collection -> the vectors of these answers (of newest_answers).

    `rows` has COLUMNS and is read column by column, since a row may hold thousands of vectors.
    """
    by_collection: dict[str, Entries] = {}
    assets = [asset_id(uri) for uri in rows["uri"].to_pylist()]
    segments = rows["segment"].to_pylist()
    cuts = zip(rows["etag"].to_pylist(), rows["segment_s"].to_pylist(), strict=True)
    contents = [files.content(*cut) for cut in cuts]
    detections = rows["detections"].combine_chunks()
    row_of_detection = pc.list_parent_indices(detections).to_numpy()
    first_detection = np.searchsorted(row_of_detection, np.arange(len(rows)))  # of each row
    flat = pa.Table.from_struct_array(detections.flatten())
    shown = flat.select(["detector", "label", "text", "time_s", "span"]).to_pylist()
    vectors = flat["vectors"].combine_chunks()
    detection_of_vector = pc.list_parent_indices(vectors).to_numpy()
    flat_vectors = pa.Table.from_struct_array(vectors.flatten())
    lengths = pc.list_value_length(flat_vectors["values"]).to_numpy()
    numbers = pc.list_flatten(flat_vectors["values"]).to_numpy()
    ends = np.cumsum(lengths)
    latest: dict[str, int] = {}  # collection -> detection whose vector was added last
    for n, space in enumerate(flat_vectors["space"].to_pylist()):
        detection = int(detection_of_vector[n])
        row, seen = int(row_of_detection[detection]), shown[detection]
        asset, segment = assets[row], segments[row]
        key, answered_in = answers.get((asset, segment, seen["detector"]), (OLDEST, -1))
        if answered_in != row:
            continue
        name = collection_name(current_space(space), int(lengths[n]))
        entries = by_collection.setdefault(name, Entries())
        prefix = f"{asset}:{seen['detector']}" + ("" if segment is None else f":{segment}")
        id = f"{prefix}:{detection - int(first_detection[row])}"
        place = n - int(np.searchsorted(detection_of_vector, detection))  # among the detection's vectors
        entries.ids.append(f"{id}:{place}" if latest.get(name) == detection else id)
        latest[name] = detection
        entries.values.append(numbers[ends[n] - lengths[n] : ends[n]])
        own: dict[str, str | float] = {"asset": asset, "content": contents[row], **dict(zip(KEY, key, strict=True))}
        own |= {} if segment is None else {"segment": segment}
        entries.metadatas.append(own | _metadata(seen))
    return by_collection


def _metadata(seen: Mapping[str, Any]) -> dict[str, str | float]:
    """The metadata to show with a hit: detector, label, time in seconds, and the beginning of its text."""
    when = seen["time_s"] if seen["time_s"] is not None else (seen["span"] or (None,))[0]
    metadata = {"detector": seen["detector"], "label": seen["label"]}
    metadata |= {} if when is None else {"time_s": when}
    return metadata | ({} if seen["text"] is None else {"text": seen["text"][:TEXT_CHARS]})
