"""The settings of what one key or user may take of the API."""

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """What one key or user may take; an admin, who could make further keys, may take anything.

    All but `jobs` are counted by each API process: with `api.replicas: 2` a caller may have twice as much.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_s: float = Field(100, gt=0, description="in the long run; a page of the app needs about 70")
    burst: int = Field(1000, ge=1, description="requests at once, after a pause")
    upload_gb_per_hour: float = Field(100, gt=0, description="of files that are analysed or searched by")
    analyses: int = Field(16, ge=1, description="uploads that are received or analysed at a time")
    exports: int = Field(2, ge=1, description="exports and reports that are sent, and verifications of jobs, at a time")
    jobs: int = Field(200, ge=1, description="scans that wait or run at a time, in the whole cluster")
