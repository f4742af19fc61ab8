"""The types of the HTTP API's routes for sessions, keys and signed URLs."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cluster.access.identity import Role
from cluster.api_types import Answer

Text = Annotated[str, Field(min_length=1, max_length=1000)]


class OidcCallback(BaseModel):
    """With what an OpenID Connect provider sent a browser back, and the flow that the browser has kept."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    code: str = Field(min_length=1, max_length=8000, repr=False)
    state: Text
    flow: Text = Field(repr=False)
    redirect_uri: Text


class SignIn(BaseModel):
    """A name with its password, or a key, or the token of a one-time link, or what an OpenID Connect provider sent."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Text | None = None
    password: Text | None = Field(default=None, repr=False)
    token: Text | None = Field(default=None, repr=False)
    oidc: OidcCallback | None = None

    @model_validator(mode="after")
    def _one_of_three(self) -> "SignIn":
        named = self.name is not None and self.password is not None
        if named + (self.token is not None) + (self.oidc is not None) != 1 or (self.name is None) != (
            self.password is None
        ):
            raise ValueError("sign in with name and password, with the token of a key or a one-time link, or with oidc")
        return self


class OidcProvider(Answer):
    """The OpenID Connect provider with which people may sign in."""

    host: str
    sign_out_url: str | None  # where a browser ends its session at the provider; None: unknown at the moment


class OidcBegin(BaseModel):
    """Where the provider sends the browser back: a URL of the app, which the provider has to know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    redirect_uri: Text


class OidcStart(Answer):
    """Where a browser has to go to sign in, and what it has to bring back."""

    url: str
    flow: str = Field(repr=False)


class Viewer(Answer):
    """Who asks, as the API sees it."""

    name: str
    role: Role
    prefixes: tuple[str, ...] | None  # it sees only files under these; None: all files


class Session(Viewer):
    """A session: its token is sent like a key, and is valid for 12 hours."""

    token: str = Field(repr=False)


class NewKey(BaseModel):
    """The key to make."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text
    role: Role = "viewer"
    prefixes: tuple[Text, ...] | None = Field(default=None, description="folders and buckets it sees; null: all")
    days: int | None = Field(default=None, ge=1, le=36_500, description="it expires after so many; null: never")


class MadeKey(Answer):
    """A key that was made. It is not shown again."""

    id: str
    key: str = Field(repr=False)


class KeyInfo(Viewer):
    """A key as lists show it, without its secret. Times are seconds since 1970."""

    id: str
    made_at: float
    expires_at: float | None
    revoked_at: float | None
    used_at: float | None  # within a minute; None: never


class UserInfo(Viewer):
    """A person who signs in with a password. Times are seconds since 1970."""

    made_at: float  # when the password, role and folders were given
    used_at: float | None  # the last use of a session, within a minute; None: not in the last 30 days


class Revoked(Answer):
    """The id of a key that was revoked: it is refused after 5 s at most."""

    id: str


class Links(Answer):
    """Paths of a file with signatures that are valid for five minutes, for programs that cannot send a key."""

    media: str
    thumbnail: str
