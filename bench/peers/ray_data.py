"""Ray Data as its documentation writes it: read_binary_files, a pool of actors, write_parquet. Ray starts for it."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import ray
from network import WORKERS, Network

BLOCKS = 20


class Scores:
    """A batch of files -> their scores."""

    def __init__(self) -> None:
        self.network = Network()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The paths and scores of a batch."""
        return {"path": batch["path"], "score": [self.network(jpeg) for jpeg in batch["bytes"]]}


if __name__ == "__main__":
    here = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}
    ray.init(address="local", include_dashboard=False, log_to_driver=False, runtime_env=here)
    ray.data.DataContext.get_current().enable_progress_bars = False
    with TemporaryDirectory() as out:
        files = ray.data.read_binary_files(sys.argv[1], include_paths=True, override_num_blocks=BLOCKS)
        actors = ray.data.ActorPoolStrategy(size=WORKERS)
        files.map_batches(Scores, batch_size=16, compute=actors, num_cpus=0.5).write_parquet(out)
        print(sum(pq.read_table(out)["score"].to_pylist()))
