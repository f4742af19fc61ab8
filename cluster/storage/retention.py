"""How long results are kept: the settings under `retention`."""

from pydantic import BaseModel, ConfigDict, Field


class Retention(BaseModel):
    """When results are old. Nothing is erased by itself: `raysift erase --retention` does it, as from cron."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: float | None = Field(None, gt=0, description="since a file was last analysed; None: no limit")
