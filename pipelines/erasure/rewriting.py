"""Removal of erased files from results, job folders, the list of jobs and logs. Each step may be repeated.

A file is written under a hidden name and then renamed: a crash leaves the old or the new one.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from cluster.access.identity import lies_under
from cluster.access.private_files import replace_private
from cluster.cases.store import CaseStore
from cluster.decisions.store import DecisionStore
from cluster.errors import SettingsError
from cluster.people.store import FaceStore
from cluster.records import asset_id
from cluster.results import compaction, layout
from cluster.results import files as results_files
from cluster.results.codec import SCHEMA
from cluster.storage import buckets
from deployments.jobs import folder
from deployments.jobs.job import JOB, Job
from deployments.jobs.store import JobStore
from deployments.jobs.webhooks.outbox import Outbox
from pipelines.erasure.needles import ERASED, Needles
from pipelines.erasure.pending import Erasure
from pipelines.erasure.selection import erased_rows, job_parquet
from pipelines.people import purge


def name_pattern(name: str) -> str:
    """A regular expression, for Python and RE2, of a name that is no part of a longer word."""
    return rf"(^|[^0-9A-Za-z_]){re.escape(name)}($|[^0-9A-Za-z_])"


def erase_results(erasure: Erasure, s3_endpoint: str | None = None) -> dict[str, int]:
    """Remove the rows of erased files and jobs, or a person's hits, vectors and thumbnails. What was removed -> count.

    Unfinished files of writers that were killed, and files that a compaction has replaced, are deleted too.
    """
    counts = {"rows": 0, "hits of the person": 0, "vectors of the person": 0, "thumbnails of the person": 0}
    for out in erasure.outs:
        delete_unfinished(out, s3_endpoint)
        compaction.clean(out, s3_endpoint, grace_s=0.0)
        if erasure.person:
            person = erasure.person
            theirs = {bytes.fromhex(vector) for vector in person.vectors}
            done = purge.remove(person.name, out, theirs, s3_endpoint, pictures_of=person.files)
            counts["hits of the person"] += done.hits
            counts["vectors of the person"] += done.faces
            counts["thumbnails of the person"] += done.thumbnails
            continue
        for file in results_files.committed(out, s3_endpoint):
            counts["rows"] += _rewrite(file, erasure, s3_endpoint)
        for job in erasure.jobs:
            folder.clear(layout.job_folder(out, job), s3_endpoint)  # nothing is left in it but its name
    return {what: count for what, count in counts.items() if count}


def _rewrite(file: str, erasure: Erasure, s3_endpoint: str | None) -> int:
    """Replace a file of results by one without the erased rows, or delete it if none is left. Returns their number."""
    mask = erased_rows(results_files.read(file, ["uri", "job"], s3_endpoint), erasure.files, erasure.jobs)
    erased = pc.sum(mask).as_py() or 0
    if erased:
        files, path = results_files.sink(file, s3_endpoint)
        if erased == len(mask):
            files.delete_file(path)
        else:
            table = results_files.read(file, SCHEMA.names, s3_endpoint).filter(pc.invert(mask))
            pq.write_table(table, path, filesystem=files)
    return int(erased)


def delete_unfinished(place: str, s3_endpoint: str | None = None) -> int:
    """Delete the hidden files of writers that were killed (results_files.sink), in a local folder; returns how many."""
    files, root = buckets.filesystem(place, s3_endpoint)
    if not isinstance(files, fs.LocalFileSystem):
        return 0
    parts = [part for part in Path(root).rglob(".*.part") if part.is_file()]
    for part in parts:
        part.unlink(missing_ok=True)
    return len(parts)


def erase_job_folders(erasure: Erasure, s3_endpoint: str | None = None) -> int:
    """Delete the folders of erased jobs, and remove erased files from the others. Returns how many files changed."""
    needles, changed = erasure.addresses(), 0
    for out in erasure.outs:
        for job in layout.jobs(out, s3_endpoint):
            if job in erasure.erased_jobs:
                folder.clear(folder.place(out, job), s3_endpoint)
                changed += 1
        for _, _, files, path in job_parquet(out, s3_endpoint):
            changed += _rewrite_ledger(files, path, out, erasure, s3_endpoint)
        for job in layout.jobs(out, s3_endpoint):
            changed += _rewrite_pages(out, job, needles, erasure, s3_endpoint)
    return changed


def _rewrite_ledger(files: fs.FileSystem, path: str, out: str, erasure: Erasure, s3_endpoint: str | None) -> bool:
    with files.open_input_file(path) as source:
        table = pq.ParquetFile(source).read()
    kept = table.filter(pc.invert(erased_rows(table.select(["uri"]), erasure.files, ())))
    if len(kept) == len(table):
        return False
    sink, _ = results_files.sink(out, s3_endpoint)
    pq.write_table(kept, path, filesystem=sink)
    return True


def _rewrite_pages(out: str, job: str, needles: Needles, erasure: Erasure, s3_endpoint: str | None) -> int:
    """Replace the JSON files of a job's folder that name or count what is erased."""
    place = folder.place(out, job)
    files, root = buckets.filesystem(place, s3_endpoint)
    changed = 0
    for info in files.get_file_info(fs.FileSelector(root)):
        if not info.is_file or info.extension != "json":
            continue
        with files.open_input_file(info.path) as source:
            try:
                facts = dict(json.loads(source.read()))
            except ValueError:
                raise SettingsError(f"{place}/{info.base_name} is damaged. Delete it, then erase --resume.") from None
        new = redacted(facts, needles, erasure)
        if info.base_name in ("job.json", "queue.json"):
            new |= erasure.totals.get(job, {})
        if new != facts:
            sink, _ = results_files.sink(place, s3_endpoint)
            with sink.open_output_stream(info.path) as page:
                page.write(json.dumps(new, indent=1).encode())
            changed += 1
    return changed


def redacted(facts: Any, needles: Needles, erasure: Erasure) -> Any:
    """JSON with ERASED in place of the addresses of erased files, and of labels that are the person's name."""
    if isinstance(facts, dict):
        return {redacted(key, needles, erasure): redacted(value, needles, erasure) for key, value in facts.items()}
    if isinstance(facts, list):
        return [redacted(value, needles, erasure) for value in facts]
    if not isinstance(facts, str):
        return facts
    return ERASED if erasure.person and facts == erasure.person.name else needles.without(facts)


def erase_job_list(path: Path, erasure: Erasure) -> int:
    """Remove erased jobs and the addresses of erased files from the list of jobs. Returns how many jobs changed."""
    if not path.exists():
        return 0
    needles = erasure.addresses()

    def change(job: Job) -> Job | None:
        if job.job in erasure.erased_jobs:
            return None
        facts = redacted(JOB.dump_python(job, mode="json"), needles, erasure)
        return JOB.validate_python(facts | erasure.totals.get(job.job, {}))

    store = JobStore(path)
    try:
        return store.rewrite(change)
    finally:
        store.close()


def erase_outbox(path: Path, erasure: Erasure) -> int:
    """Remove webhooks' messages and hits that are of erased jobs or name erased files. Returns how many there were."""
    if not path.exists():
        return 0
    names_any = _names_any(erasure)
    outbox = Outbox(path)
    try:
        return outbox.erase(names_any, erasure.erased_jobs)
    finally:
        outbox.close()


def erase_decisions(path: Path, erasure: Erasure) -> int:
    """Remove the decisions on erased files, and notes and tags that name what is erased. Returns their number."""
    if not path.exists():
        return 0
    names_any = _names_any(erasure)
    store = DecisionStore(path)
    try:
        return store.erase(lambda uri: _is_erased(uri, erasure), lambda text: names_any(text.encode()))
    finally:
        store.close()


def erase_face_decisions(path: Path, erasure: Erasure) -> int:
    """Remove the decisions on faces in erased files, and those that name the person. Returns their number."""
    if not path.exists():
        return 0
    name = erasure.person.name if erasure.person else None
    store = FaceStore(path)
    try:
        return store.erase(lambda uri: _is_erased(uri, erasure), lambda text: text == name)
    finally:
        store.close()


def erase_cases(path: Path, erasure: Erasure) -> int:
    """Remove erased files and folders from the cases, and titles that name what is erased. Returns how many changed."""
    if not path.exists():
        return 0
    names_any = _names_any(erasure)
    cases = CaseStore(path)
    try:
        return cases.erase(
            lambda uri: _is_erased(uri, erasure), lambda title: ERASED if names_any(title.encode()) else title
        )
    finally:
        cases.close()


def _is_erased(uri: str, erasure: Erasure) -> bool:
    return uri in erasure.files or asset_id(uri) in erasure.assets or lies_under(uri, erasure.under)


def erase_log_lines(state_dir: Path, erasure: Erasure) -> int:
    """Remove the lines of state_dir/*.log that name erased files or the person. Returns how many there were."""
    names_any, removed = _names_any(erasure), 0
    for part in state_dir.glob(".*.log.part"):  # of an erasure that was interrupted
        part.unlink()
    for log in state_dir.glob("*.log"):
        content = log.read_bytes()
        if not names_any(content):
            continue
        lines = content.splitlines(keepends=True)
        kept = [line for line in lines if not names_any(line)]
        removed += len(lines) - len(kept)
        replace_private(log, b"".join(kept))
    return removed


def _names_any(erasure: Erasure) -> Callable[[bytes], bool]:
    """Whether bytes have the address or id of an erased file, or the person's name."""
    needles = erasure.addresses()
    name = re.compile(name_pattern(erasure.person.name).encode()) if erasure.person else None
    return lambda data: bool(needles.spans(data) or (name and name.search(data)))
