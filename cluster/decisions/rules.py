"""The settings group `review`: which labels a decision may have, and how long a file is locked for a reviewer."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

UNDECIDED = "none"  # the value of the filter `decision` for files without a decision
MOST_LABELS = 10  # the keys 1 to 9 and 0
MOST_CHARACTERS = 60  # of a label or a tag


class ReviewRules(BaseModel):
    """How files are reviewed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: dict[str, bool | None] = Field(
        {"relevant": True, "not relevant": False, "unsure": None},
        description="label -> whether it confirms what was found; null: it says neither. The first has the key 1",
    )
    lock_s: float = Field(600, gt=0, description="a file is kept for one reviewer so long after it was shown")

    @field_validator("labels", mode="after")
    @classmethod
    def _named(cls, labels: dict[str, bool | None]) -> dict[str, bool | None]:
        if not 1 <= len(labels) <= MOST_LABELS:
            raise ValueError(f"name 1 to {MOST_LABELS} labels: each has a key from 0 to 9")
        for label in labels:
            if label != label.strip() or not 0 < len(label) <= MOST_CHARACTERS or label == UNDECIDED:
                raise ValueError(
                    f"{label!r} is no label: use 1 to {MOST_CHARACTERS} characters without spaces around them, "
                    f"and not {UNDECIDED!r}, which stands for files without a decision"
                )
        return labels
