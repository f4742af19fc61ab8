"""The embeddings in committed rows, as a vector store takes them: ids, values, and what to show of a hit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster.records import asset_id, current_space
from cluster.results import files

# of a Parquet file, that these functions need
COLUMNS = ["uri", "etag", "segment", "segment_s", "detections", "analyzers", "analyzed_at"]
TEXT_CHARS = 500

Answer = tuple[str, int | None, str]  # an asset's id, the number of its segment, None for the whole file, a detector


@dataclass
class Entries:
    """What goes into one collection, in step with each other."""

    # asset:detector:place of the detection in its row; of a segment asset:detector:segment:place
    ids: list[str] = field(default_factory=list)
    values: list[npt.NDArray[np.float32]] = field(default_factory=list)
    metadatas: list[dict[str, str | float]] = field(default_factory=list)


def collection_name(space: str, length: int) -> str:
    """Vectors of another length are another model's and cannot be compared."""
    return f"{space}-{length}"


def newest_contents(rows: pa.Table) -> dict[str, tuple[float, int]]:
    """For each file: when its newest row was made (seconds since 1970), and the content which that is about."""
    newest: dict[str, tuple[float, int]] = {}
    columns = (rows[name].to_pylist() for name in ("uri", "analyzed_at", "etag", "segment_s"))
    for uri, when, etag, segment_s in zip(*columns, strict=True):
        asset = asset_id(uri)
        newest[asset] = max(newest.get(asset, (0.0, 0)), (when.timestamp(), files.content(etag, segment_s)))
    return newest


def newest_answers(rows: pa.Table, contents: Mapping[str, tuple[float, int]]) -> dict[Answer, tuple[float, int]]:
    """For each answer on these contents of the files: when it was given, and in which of the rows."""
    newest: dict[Answer, tuple[float, int]] = {}
    columns = (rows[name].to_pylist() for name in ("uri", "segment", "etag", "segment_s", "analyzed_at", "analyzers"))
    for at, (uri, segment, etag, segment_s, when, model_versions) in enumerate(zip(*columns, strict=True)):
        asset = asset_id(uri)
        if contents[asset][1] == files.content(etag, segment_s):
            for model_version in model_versions or ():
                answer = (asset, segment, model_version["detector"])
                newest[answer] = max(newest.get(answer, (0.0, 0)), (when.timestamp(), at))
    return newest


def embeddings(rows: pa.Table, answers: Mapping[Answer, tuple[float, int]]) -> dict[str, Entries]:
    """The vectors of these answers, by the name of their collection."""
    found: dict[str, Entries] = {}
    assets = [asset_id(uri) for uri in rows["uri"].to_pylist()]
    segments = rows["segment"].to_pylist()
    cuts = zip(rows["etag"].to_pylist(), rows["segment_s"].to_pylist(), strict=True)
    contents = [files.content(*cut) for cut in cuts]
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
    latest: dict[str, int] = {}  # which detection's vector went into a collection last
    for at, space in enumerate(parts["space"].to_pylist()):
        d = int(of_detection[at])
        row, seen = int(owners[d]), shown[d]
        asset, segment = assets[row], segments[row]
        stamp, answered_in = answers.get((asset, segment, seen["detector"]), (0.0, -1))
        if answered_in != row:
            continue
        name = collection_name(current_space(space), int(lengths[at]))
        entries = found.setdefault(name, Entries())
        of = f"{asset}:{seen['detector']}" + ("" if segment is None else f":{segment}")
        id = f"{of}:{d - int(starts[row])}"
        more = at - int(np.searchsorted(of_detection, d))
        entries.ids.append(f"{id}:{more}" if latest.get(name) == d else id)
        latest[name] = d
        entries.values.append(numbers[ends[at] - lengths[at] : ends[at]])
        own: dict[str, str | float] = {"asset": asset, "content": contents[row], "analyzed_at": stamp}
        own |= {} if segment is None else {"segment": segment}
        entries.metadatas.append(own | _metadata(seen))
    return found


def _metadata(seen: Mapping[str, Any]) -> dict[str, str | float]:
    when = seen["time_s"] if seen["time_s"] is not None else (seen["span"] or (None,))[0]
    metadata = {"detector": seen["detector"], "label": seen["label"]}
    metadata |= {} if when is None else {"time_s": when}
    return metadata | ({} if seen["text"] is None else {"text": seen["text"][:TEXT_CHARS]})
