"""Daft on its own runner: files are downloaded, scored by a class in processes, and written as Parquet."""

import sys
from tempfile import TemporaryDirectory
from typing import Any

import daft
from network import WORKERS, Network


@daft.cls(max_concurrency=WORKERS, use_process=True)
class Scores:
    """A batch of files -> their scores."""

    def __init__(self) -> None:
        self.network = Network()

    @daft.method.batch(return_dtype=daft.DataType.float64(), batch_size=16)
    def run(self, batch: Any) -> list[float]:
        """The scores of a batch."""
        return [self.network(jpeg) for jpeg in batch.to_pylist()]


if __name__ == "__main__":
    with TemporaryDirectory() as out:
        files = daft.from_glob_path(f"{sys.argv[1]}/*.jpg").with_column("jpeg", daft.col("path").download())
        files.with_column("score", Scores().run(daft.col("jpeg"))).select("path", "score").write_parquet(out)
        print(sum(daft.read_parquet(f"{out}/*.parquet").to_pydict()["score"]))
