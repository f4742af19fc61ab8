"""The settings of logs."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Logs(BaseModel):
    """The form and level of the logs of drivers and of all deployments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["text", "json"] = Field("text", description="json: one object a line")
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="of the least lines that are kept")
