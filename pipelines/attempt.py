"""What the units of one attempt at a job have in common, as it travels with every block of them."""

from dataclasses import dataclass

from cluster.records import ModelVersion
from cluster.settings import Settings


@dataclass(frozen=True, slots=True)
class Attempt:
    """One driver's run of a job."""

    job: str
    sequence: int  # the number of the attempt, which every row gets
    model_versions: dict[str, ModelVersion]  # of the detectors that the job may ask
    settings: Settings  # of the job: its roots
    trace: str | None = None  # the driver's span, if it records spans
