"""The types of the HTTP API's routes for cases."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cluster.api_types import Answer

CaseName = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="lower-case letters, digits, - and _")
]
Title = Annotated[str, Field(max_length=200)]
Folders = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=1000)], ...],
    Field(max_length=1000, description="folders, buckets, containers or files: s3://bucket/case-7"),
]


class NewCase(BaseModel):
    """The case to make."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: CaseName
    title: Title = ""
    folders: Folders = ()


class CaseChange(BaseModel):
    """What to change of a case; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Title | None = None
    add: Folders = ()
    remove: Folders = ()
    closed: bool | None = Field(default=None, description="nothing is scanned into a closed case")


class CaseInfo(Answer):
    """A case as the caller may see it: a limited caller sees those of its folders that lie in the own ones."""

    name: str
    title: str
    folders: tuple[str, ...]
    files: int  # that were scanned in these folders
    made_by: str
    made_at: str
    closed_at: str | None
