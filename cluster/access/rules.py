"""The settings group `access`, and the purpose for which somebody acts."""

from urllib.parse import quote, unquote

from pydantic import BaseModel, ConfigDict, Field

PURPOSE_HEADER = "X-Purpose"  # percent-encoded UTF-8: a header is ASCII
PURPOSE_VARIABLE = "RAYSIFT_PURPOSE"  # the purpose of commands; no setting
# score of nsfw from which a file counts as explicit; ordinary pictures have 0.02 at most: deployments/detectors/nsfw.py
EXPLICIT = 0.3
MOST_CHARACTERS = 200  # of a purpose: encoded, a cookie of the app holds it too, of 4096 bytes at most


class AccessRules(BaseModel):
    """What is demanded of callers, beside a key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    purpose_required: bool = Field(
        False,
        description="searches by a face, enrolling, naming and purging people, and explicit originals need a purpose",
    )


def purpose_header(purpose: str | None) -> dict[str, str]:
    """The header of a request that acts for this purpose; none without one."""
    text = (purpose or "").strip()
    return {PURPOSE_HEADER: quote(text[:MOST_CHARACTERS], safe=" ")} if text else {}


def purpose_in(header: str) -> str:
    """The purpose that a header gives, "" without one. Line breaks and the like become spaces."""
    return " ".join(unquote(header).split())[:MOST_CHARACTERS]
