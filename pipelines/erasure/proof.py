"""The proof of an erasure: every file of every store is searched for what was erased, and the traces are counted."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from cluster.decisions import store as decisions
from cluster.people import store as people
from cluster.records import asset_id
from cluster.settings import Settings
from cluster.storage import buckets
from deployments.jobs.webhooks import outbox
from pipelines.erasure.needles import WINDOW, Needles
from pipelines.erasure.pending import FOLDER, Erasure
from pipelines.erasure.rewriting import name_pattern

KEPT = ("audit.jsonl", "audit.last", "holds.json")  # of state_dir, beside the proofs: they name what was erased by id
LEAST_NAME = 5  # bytes of a name that is looked for in binary files; a shorter one is there by chance
_TEXT = ("json", "jsonl", "log", "yaml", "txt")
_STORES = {  # of state_dir: the beginning of a file's path -> the store
    "chroma/": "vector store",
    "catalog": "catalogue",
    "jobs.sqlite": "list of jobs",
    "cache.sqlite": "cache of this node",
    outbox.FILE: "webhooks",
    decisions.FILE: "decisions",
    people.FILE: "decisions on faces",
}


@dataclass(slots=True)
class Searched:
    """What was looked through in one store, and the occurrences by kind."""

    files: int = 0
    bytes: int = 0
    traces: Counter[str] = field(default_factory=Counter)
    mentions: int = 0  # of the person's name in texts, addresses and the like, which are not erased


@dataclass(frozen=True, slots=True)
class Proof:
    """What was looked through, by store, and what was not."""

    stores: dict[str, Searched]
    not_searched: list[str]

    @property
    def traces(self) -> int:
        """All occurrences of what should have been erased."""
        return sum(sum(searched.traces.values()) for searched in self.stores.values())


class Search:
    """Searches files and tables for what an erasure has removed."""

    def __init__(self, erasure: Erasure) -> None:
        self._needles: Needles = erasure.needles()
        name = erasure.person.name if erasure.person else None
        self._name = None if name is None else re.compile(name_pattern(name).encode())
        self._person, self._pattern = name, None if name is None else name_pattern(name)
        self._jobs = pa.array(erasure.jobs, pa.string())
        self._long = name is not None and len(name.encode()) >= LEAST_NAME

    def file(self, files: fs.FileSystem, info: fs.FileInfo, searched: Searched, name_is_trace: bool) -> None:
        """Search one file, and count it. `name_is_trace`: the person's name may not be in it."""
        searched.files += 1
        searched.bytes += info.size or 0
        with files.open_input_file(info.path) as source:
            if info.extension == "parquet":
                with suppress(pa.ArrowInvalid):  # it is none: its bytes are searched
                    self._parquet(source, searched)
                    return
                source.seek(0)
            self._raw(source, info, searched, name_is_trace)

    def _raw(self, source: pa.NativeFile, info: fs.FileInfo, searched: Searched, name_is_trace: bool) -> None:
        named = self._name if self._long or info.extension in _TEXT else None
        # what ends near the end of a window is counted with the next one, which shows what follows it
        overlap, counted, rest, piece = self._needles.longest + 4, 0, b"", source.read(WINDOW)
        while piece:
            data, piece = rest + piece, source.read(WINDOW)
            until = len(data) - overlap if piece else len(data)
            searched.traces.update(kind for kind, _, end in self._needles.spans(data) if counted < end <= until)
            if named is not None and (count := len(named.findall(data))):
                searched.traces["name"] += count if name_is_trace else 0
                searched.mentions += 0 if name_is_trace else count
            rest = data[-2 * overlap :]
            counted = until - (len(data) - len(rest))

    def _parquet(self, source: pa.NativeFile, searched: Searched) -> None:
        """Search the values: the file has them compressed."""
        parquet = pq.ParquetFile(source)
        for group in range(parquet.num_row_groups):
            table = parquet.read_row_group(group)
            for name in table.column_names:
                for path, leaf in leaves(name, table[name].combine_chunks()):
                    self._values(path, leaf.drop_null(), searched)

    def _values(self, path: str, leaf: pa.Array, searched: Searched) -> None:
        values: list[bytes] = []
        if pa.types.is_string(leaf.type) or pa.types.is_large_string(leaf.type):
            values = ["\n".join(leaf.to_pylist()).encode("utf-8", "surrogateescape")]
            searched.traces["jobs"] += _count(pc.is_in(leaf.cast(pa.string()), self._jobs)) if path == "job" else 0
            if self._pattern is not None and path.endswith(".label"):
                searched.traces["name"] += _count(pc.equal(leaf, self._person))
            elif self._pattern is not None:
                searched.mentions += _count(pc.match_substring_regex(leaf, self._pattern))
        elif pa.types.is_binary(leaf.type) or pa.types.is_large_binary(leaf.type):
            values = leaf.to_pylist()
        elif pa.types.is_floating(leaf.type):
            values = [leaf.to_numpy().tobytes()]
        for value in values:
            searched.traces.update(kind for kind, _, _ in self._needles.spans(value))


def _count(mask: pa.Array) -> int:
    return int(pc.sum(mask).as_py() or 0)


def leaves(path: str, array: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """The values that are no lists or structs in a column, each with its dotted path."""
    if pa.types.is_struct(array.type):
        for column, name in zip(array.flatten(), array.type.names, strict=True):
            yield from leaves(f"{path}.{name}", column)
    elif pa.types.is_dictionary(array.type):
        yield path, array.dictionary_decode()
    elif pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        yield from leaves(path, array.flatten())
    else:
        yield path, array


def prove(erasure: Erasure, settings: Settings) -> Proof:
    """Search the results with the folders of jobs, the galleries, and the whole state folder."""
    search, stores, seen = Search(erasure), dict[str, Searched](), set[str]()
    places = [(f"results {out}", out) for out in erasure.outs]
    places += [("galleries", settings.galleries), ("state folder", settings.state_dir.absolute().as_uri())]
    for store, place in places:
        for files, info, inner in _walk(place, settings.s3_endpoint):
            if info.path in seen or (store == "state folder" and _is_kept(inner)):
                continue
            seen.add(info.path)
            name = _store(inner) if store == "state folder" else store
            searched = stores.setdefault(name, Searched())
            name_is_trace = name in ("galleries", "logs")
            search.file(files, info, searched, name_is_trace)
            if erasure.person and store == "galleries" and erasure.person.name in inner.split("/"):
                searched.traces["name"] += 1
    return Proof(stores, _not_searched(erasure, settings))


def _walk(place: str, s3_endpoint: str | None) -> Iterator[tuple[fs.FileSystem, fs.FileInfo, str]]:
    """Every regular file of a folder, with its path in it."""
    files, root = buckets.filesystem(place, s3_endpoint)
    for info in files.get_file_info(fs.FileSelector(root, allow_not_found=True, recursive=True)):
        if info.is_file:
            yield files, info, info.path.removeprefix(root).strip("/")


def _is_kept(inner: str) -> bool:
    return inner in KEPT or inner.startswith((f"{FOLDER}/", ".holds.json."))


def _store(inner: str) -> str:
    if "/" not in inner and inner.endswith(".log"):
        return "logs"
    return next((store for start, store in _STORES.items() if inner.startswith(start)), "rest of the state folder")


def _not_searched(erasure: Erasure, settings: Settings) -> list[str]:
    caches = erasure.caches
    copies = "exports, reports (also those of `raysift evaluate`) and other copies that people have made"
    places = ["the original media", copies]
    places.append(f"{', '.join(KEPT)} and {FOLDER}/ of the state folder, which record erasures by asset id")
    left = "raysift-export-* and raysift-report-*"
    places.append(f"{left} in the folder of temporary files, of an export or a report that was killed")
    places.append("logs of Ray on other machines, and free blocks of the disks")
    if any(not out.startswith("file:") for out in erasure.outs):
        places.append("earlier versions of objects, if a bucket keeps them")
    if not (settings.state_dir / "chroma").exists():
        places.append(f"Chroma at {settings.chroma.url}, if there is one: `raysift vectors rebuild` when it runs")
    if not erasure.nodes_reached:
        places.append("caches of other nodes: those that share galleries_uri are erased before they are used again")
    if caches and len(caches.entries) > 1:
        places.append(f"the caches of {', '.join(sorted(caches.entries))}: each was emptied there")
    if caches and caches.away:
        places.append(f"the cache of {', '.join(caches.away)}: it is erased before it is used again")
    return places


def as_json(erasure: Erasure, proof: Proof, done: dict[str, int], ended: str) -> dict[str, Any]:
    """The proof to be stored: it names files by asset id, and no person."""
    return {
        "erasure": erasure.id,
        "by": erasure.by,
        "began": erasure.began,
        "ended": ended,
        "selected_by": erasure.selected_by,
        "assets": sorted(map(asset_id, erasure.files)),
        "jobs": sorted(erasure.erased_jobs),
        "erased": done,
        "caches": erasure.caches.model_dump() if erasure.caches else None,
        "searched_for": {
            "vectors": erasure.searched,
            "pieces of vectors": len(erasure.vectors or []),
            "pieces of thumbnails": len(erasure.thumbnails),
            "pieces that files with equal content keep": erasure.shared,
            "addresses and ids of files": len(erasure.files),
            "name of a person": erasure.person is not None,
        },
        "traces": proof.traces,
        "stores": {
            name: {
                "files": searched.files,
                "bytes": searched.bytes,
                "traces": {kind: count for kind, count in searched.traces.items() if count},
                "mentions": searched.mentions,
            }
            for name, searched in proof.stores.items()
        },
        "not_searched": proof.not_searched,
    }
