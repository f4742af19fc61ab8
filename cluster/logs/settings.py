"""The settings of logs."""

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from cluster.records import COLOCATED

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]  # the most detailed first


class Logs(BaseModel):
    """The form and level of the logs of drivers and of all deployments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["text", "json"] = Field("text", description="json: one object a line")
    level: Level = Field("INFO", description="of the least lines that are kept")
    levels: dict[str, Level] = Field({}, description="the same for single parts: driver, a deployment, a detector")

    def of(self, part: str) -> Level:
        """The level of a part; of detectors that share a process, as "clip+ocr", the most detailed of theirs."""
        levels = [self.levels[name] for name in part.split(COLOCATED) if name in self.levels]
        return min(levels, key=get_args(Level).index, default=self.level)
