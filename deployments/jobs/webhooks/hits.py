"""The hits in files of results: the assets with a detection that passes an endpoint's filter."""

import hashlib
import logging
from collections.abc import Collection, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from cluster.errors import SettingsError
from cluster.records import asset_id
from cluster.results import files as results_files
from cluster.webhooks.endpoint import HitFilter, Webhook
from deployments.jobs.webhooks.outbox import Outbox

log = logging.getLogger(__name__)

COLUMNS = ["job", "uri", *(f"detections.list.element.{name}" for name in ("detector", "label", "score"))]


def rule_of(webhook: Webhook) -> str:
    """The key of an endpoint's hits: another one for another URL or filter."""
    return hashlib.sha256(f"{webhook.url}\0{webhook.hits.model_dump_json()}".encode()).hexdigest()[:32]


def collect(
    outbox: Outbox,
    webhooks: Sequence[Webhook],
    committed: Sequence[str],
    jobs: Collection[str],
    s3_endpoint: str | None,
) -> None:
    """Keep the hits of these jobs in those of the committed files that were not read before. Each file is read once.

    OSError if a file cannot be read. One that holds no results is skipped.
    """
    filters = {rule_of(webhook): webhook.hits for webhook in webhooks}
    unseen = {rule: set(outbox.unseen(rule, committed)) for rule in filters}
    for file in committed:
        waiting = [rule for rule in filters if file in unseen[rule]]
        if not waiting:
            continue
        try:
            rows = results_files.read(file, COLUMNS, s3_endpoint)
        except SettingsError as error:
            log.warning("no hits are looked for: %s", error)
            continue
        rows = rows.filter(pc.is_in(rows["job"], pa.array(list(jobs), pa.string())))
        for rule in waiting:
            outbox.add_hits(rule, file, matching(rows, filters[rule]))


def matching(rows: pa.Table, wanted: HitFilter) -> set[tuple[str, str]]:
    """Job and asset of the rows (COLUMNS) with a detection that passes the filter."""
    rows = rows.combine_chunks()
    detections = pa.Table.from_struct_array(pc.list_flatten(rows["detections"]))
    passes = pc.greater_equal(detections["score"], pa.scalar(wanted.min_score, pa.float32()))
    for name in ("detector", "label"):
        if (value := getattr(wanted, name)) is not None:
            passes = pc.and_(passes, pc.equal(detections[name], value))
    hit = rows.take(pc.unique(pc.filter(pc.list_parent_indices(rows["detections"]), passes)))
    return {(row["job"], asset_id(row["uri"])) for row in hit.select(["job", "uri"]).to_pylist()}
