"""The index of the store of decisions in the catalogue: filled anew at each start, and changed by each decision."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa

from cluster.decisions.store import DecisionStore
from deployments.catalog import decided
from deployments.catalog.database import Database

PART = 5000  # files whose decisions are in memory at a time
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.string()),
        *((name, pa.list_(pa.string())) for name in ("tags", "owners", "names")),
    ]
)


class DecisionIndex:
    """Owns the store of decisions, and the table. Methods may be called from several threads."""

    def __init__(self, database: Database, path: Path | Literal[":memory:"]) -> None:
        self.store = DecisionStore(path)
        self._database = database
        self._filling = threading.Lock()
        with database.transaction() as cursor:
            cursor.execute(decided.TABLE)
        assets = self.store.assets()
        for begin in range(0, len(assets), PART):
            self.refresh(assets[begin : begin + PART])

    def refresh(self, assets: Sequence[str]) -> None:
        """Bring the rows of these files to what the store has of them."""
        with self._filling:  # so that of two threads the later one stores what is newer
            opinions = self.store.opinions(assets)
            labels = self.store.labels(opinions)
            rows = [
                {
                    "id": asset,
                    "label": label,
                    "tags": tags,
                    "owners": [opinion.owner for opinion in opinions[asset]],
                    "names": [opinion.who for opinion in opinions[asset]],
                }
                for asset, (label, tags) in labels.items()
            ]
            with self._database.transaction() as cursor:
                cursor.execute("delete from decided where id in (select unnest(?)::uuid)", [list(assets)])
                cursor.register("decided_now", pa.Table.from_pylist(rows, _SCHEMA))
                cursor.execute("insert into decided select id::uuid, label, tags, owners, names from decided_now")

    def close(self) -> None:
        """Close the store."""
        self.store.close()
