"""NeMo Curator: a stage of its own on its pool of Ray actors. Ray starts for it."""

import os
from dataclasses import dataclass
from pathlib import Path

import ray
from nemo_curator.backends.ray_actor_pool import RayActorPoolExecutor
from nemo_curator.pipeline import Pipeline
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.stages.resources import Resources
from nemo_curator.tasks import FileGroupTask
from network import WORKERS, Network, images

GROUP = 16


@dataclass
class Scores(ProcessingStage[FileGroupTask, FileGroupTask]):
    """Paths -> their scores, as text."""

    name: str = "scores"

    def __post_init__(self) -> None:
        self.resources = Resources(cpus=0.5)

    def inputs(self) -> tuple[list[str], list[str]]:
        """It needs no columns."""
        return [], []

    def outputs(self) -> tuple[list[str], list[str]]:
        """It adds none."""
        return [], []

    def setup(self, _: object = None) -> None:
        """Load the network."""
        self.network = Network()

    def process(self, task: FileGroupTask) -> FileGroupTask:
        """Score the files of a group."""
        task.data = [repr(self.network(Path(path).read_bytes())) for path in task.data]
        return task

    def num_workers(self) -> int:
        """How many actors run it."""
        return WORKERS


if __name__ == "__main__":
    os.environ |= {"RAY_MAX_LIMIT_FROM_API_SERVER": "40000", "RAY_MAX_LIMIT_FROM_DATA_SOURCE": "40000"}
    here = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}
    ray.init(address="local", include_dashboard=True, log_to_driver=False, runtime_env=here)
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    paths = images()
    groups = [FileGroupTask(dataset_name="bench", data=paths[n : n + GROUP]) for n in range(0, len(paths), GROUP)]
    pipeline = Pipeline(name="bench")
    pipeline.add_stage(Scores())
    done = pipeline.run(RayActorPoolExecutor(), initial_tasks=groups)
    print(sum(float(score) for task in done for score in task.data))
