"""An endpoint of webhooks: its address, its secret, and of what it is told."""

import base64
import binascii
import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from cluster.errors import SettingsError

Event = Literal["job.finished", "job.failed", "hit"]
SECRET_PREFIX = "whsec_"  # of a secret, by which its variable is known whatever its name
_OWN = "RAYSIFT_"  # variables with this prefix are settings
_LEAST_BYTES = 16  # of a secret


class HitFilter(BaseModel):
    """Which detections are hits: those that pass all that is set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    detector: str | None = Field(None, description="its name; null: any")
    label: str | None = Field(None, description="null: any")
    min_score: float = Field(0.0, ge=0, le=1)


class Webhook(BaseModel):
    """An endpoint. Its URL is the operator's: it may be in the own network; redirects are not followed.

    The secret is `whsec_` and the Base64 of at least 16 bytes, in a file or an environment variable of the head.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(description="https://...; http:// only to localhost, or to a loopback or private address")
    secret_file: Path | None = Field(None, description="a file on the head that holds the secret")
    secret_env: str | None = Field(None, description="or the name of an environment variable of the head")
    events: tuple[Event, ...] = Field(("job.finished", "job.failed"), min_length=1)
    hits: HitFilter = Field(HitFilter(), description="which detections the event `hit` is about")

    @field_validator("url", mode="after")
    @classmethod
    def _is_allowed(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no URL that begins with https:// and names a host")
        if parts.username is not None or parts.password is not None:
            raise ValueError("a URL with a password would be shown in lists: the secret signs each delivery")
        if parts.scheme == "http" and not _is_near(parts.hostname):
            raise ValueError(f"{url!r} is not encrypted, and neither localhost nor a loopback or private address")
        return url

    @model_validator(mode="after")
    def _has_a_secret(self) -> Self:
        if (self.secret_file is None) == (self.secret_env is None):
            raise ValueError("name either secret_file or secret_env")
        if self.secret_env and self.secret_env.startswith(_OWN):
            raise ValueError(f"secret_env must not begin with {_OWN}: such variables are settings")
        return self

    def secret(self) -> bytes:
        """The secret, read now. SettingsError says where it is missing, or that it is none."""
        if self.secret_file is not None:
            where = str(self.secret_file)
            try:
                text = self.secret_file.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"the webhook's secret {where} cannot be read: {error}") from None
        else:
            where, text = f"variable {self.secret_env}", os.environ.get(str(self.secret_env), "").strip()
        try:
            encoded = text.removeprefix(SECRET_PREFIX) if text.startswith(SECRET_PREFIX) else ""
            secret = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            secret = b""
        if len(secret) < _LEAST_BYTES:
            raise SettingsError(
                f"{where} holds no webhook secret: whsec_ and the Base64 of {_LEAST_BYTES} bytes or more."
            )
        return secret


def _is_near(host: str) -> bool:
    """Whether a host is written as localhost, or as an address of this machine or of a private network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or (address.is_private and not address.is_unspecified and not address.is_link_local)


def _are_distinct(webhooks: tuple[Webhook, ...]) -> tuple[Webhook, ...]:
    urls = [webhook.url for webhook in webhooks]
    if twice := next((url for url in urls if urls.count(url) > 1), None):
        raise ValueError(f"{twice} is named twice")
    return webhooks


Webhooks = Annotated[tuple[Webhook, ...], AfterValidator(_are_distinct)]
