"""What is shown of pictures and heard of films until somebody reveals them; the settings group `exposure`."""

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from cluster.api_types import Answer

Colours = Literal["colour", "grey", "sepia"]
Size = Literal["small", "medium", "large"]
COLOURS: tuple[Colours, ...] = get_args(Colours)
SIZES: tuple[Size, ...] = get_args(Size)


class Exposure(BaseModel):
    """What a person sees and hears before it reveals a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    blur: bool = Field(description="pictures and films are blurred")
    colours: Colours = Field(description="of pictures and films")
    muted: bool = Field(description="films begin without sound")
    thumbnails: Size = Field(description="how large the pictures of lists are")
    break_after_minutes: int | None = Field(ge=5, le=480, description="minutes of work until a reminder; null: none")

    def weaker(self, floor: "Exposure") -> list[str]:
        """The names of the fields in which this shows more than `floor`."""
        break_after, latest = self.break_after_minutes, floor.break_after_minutes
        more = {
            "blur": floor.blur and not self.blur,
            "colours": self.colours == "colour" and floor.colours != "colour",
            "muted": floor.muted and not self.muted,
            "thumbnails": SIZES.index(self.thumbnails) > SIZES.index(floor.thumbnails),
            "break_after_minutes": latest is not None and (break_after is None or break_after > latest),
        }
        return [name for name, shows_more in more.items() if shows_more]


class OwnExposure(Answer):
    """What holds for who asks. `floor`: the organisation's settings, if they can only be made stricter."""

    chosen: Exposure
    floor: Exposure | None


class ExposureRules(Exposure):
    """What the organisation sets for everybody who has chosen nothing else.

    With `floor` people may only make each of these stricter: blurred, without colours, muted, smaller, a break sooner.
    """

    blur: bool = Field(True, description="pictures and films are blurred until they are revealed")
    colours: Colours = Field("grey", description="colour, grey or sepia, until a file is revealed")
    muted: bool = Field(True, description="films begin without sound")
    thumbnails: Size = Field("medium", description="small, medium or large: the pictures of lists")
    break_after_minutes: int | None = Field(
        None, ge=5, le=480, description="minutes of work until the app suggests a break; null: it does not"
    )
    floor: bool = Field(False, description="people may only make each of these stricter")

    @property
    def exposure(self) -> Exposure:
        """What holds for somebody who has chosen nothing."""
        return Exposure(**self.model_dump(exclude={"floor"}))

    def allowed(self, chosen: Exposure) -> Exposure:
        """What somebody chose, with the organisation's value in each field that may not be so weak."""
        if not self.floor:
            return chosen
        return chosen.model_copy(update={name: getattr(self, name) for name in chosen.weaker(self)})

    def own(self, chosen: Exposure | None) -> OwnExposure:
        """What holds for somebody who chose that; None: nothing."""
        floor = self.exposure if self.floor else None
        return OwnExposure(chosen=self.allowed(chosen or self.exposure), floor=floor)
