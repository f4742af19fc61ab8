"""The settings of traces."""

from pydantic import BaseModel, ConfigDict, Field


class Traces(BaseModel):
    """Where the spans of requests and jobs are sent, by OTLP over HTTP; by default nowhere, and none are made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str | None = Field(
        None, pattern=r"^https?://[^\s/]+(/[^\s]*)?$", description="of a collector: http://127.0.0.1:4318; None: off"
    )
