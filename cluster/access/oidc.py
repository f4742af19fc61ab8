"""The settings of an OpenID Connect provider, and what its people may do: its groups, mapped to roles.

Nothing here calls the provider; deployments/access/provider.py does.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from cluster.access.identity import ROLES, Role
from cluster.errors import SettingsError
from cluster.storage.filesystems import normalize

SECRET_VARIABLE = "RAYSIFT_OIDC__CLIENT_SECRET"
FLOW_S = 600  # how long a person may take at the provider to sign in
CALLBACK_PATH = "/sign-in/oidc/callback"  # of the app: the provider sends browsers there
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MOST_CHARACTERS = 100  # of a name and of an e-mail address that are shown


class GroupRole(BaseModel):
    """What the members of a group may do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role
    under: tuple[str, ...] | None = Field(None, min_length=1, description="folders they see; None: all files")

    @field_validator("under", mode="after")
    @classmethod
    def _normalized(cls, under: tuple[str, ...] | None) -> tuple[str, ...] | None:
        try:
            return under and tuple(normalize(uri).rstrip("/") for uri in under)
        except SettingsError as error:
            raise ValueError(str(error)) from None


class Oidc(BaseModel):
    """An OpenID Connect provider whose people may sign in to the app, and whose tokens programs may send."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    issuer: str = Field(description="its issuer URL; /.well-known/openid-configuration below it describes it")
    client_id: str = Field(min_length=1, description="by which the provider knows this Raysift")
    client_secret: SecretStr | None = Field(None, description="of that client, or the file below; None: it has none")
    client_secret_file: Path | None = Field(None, description="a file on the cluster's head that contains the secret")
    scopes: tuple[str, ...] = Field(("openid", "profile", "email"), description="of the request; some add the groups")
    groups_claim: str = Field("groups", min_length=1, description="the claim of a token that names the groups")
    audiences: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="of the JWTs that programs may send to the API instead of a key; without any, JWTs are refused"
    )
    roles: dict[str, GroupRole] = Field(min_length=1, description="group -> role; people without any are refused")

    @field_validator("issuer", mode="after")
    @classmethod
    def _is_secure(cls, issuer: str) -> str:
        if not is_secure(issuer) or urlsplit(issuer).query or urlsplit(issuer).fragment:
            raise ValueError("write a URL with https:// (http:// only for this machine), without ? and #")
        return issuer

    @model_validator(mode="after")
    def _consistent(self) -> "Oidc":
        if "openid" not in self.scopes:
            raise ValueError("scopes have to contain openid")
        if self.client_secret and self.client_secret_file:
            raise ValueError("set client_secret or client_secret_file, not both")
        return self

    @property
    def host(self) -> str:
        """The provider's host, as pages name it."""
        return urlsplit(self.issuer).netloc

    @property
    def digest(self) -> str:
        """Changes with what decides who may sign in: sessions of another digest end."""
        decides = self.model_dump_json(include={"issuer", "client_id", "groups_claim", "audiences", "roles"})
        return hashlib.sha256(decides.encode()).hexdigest()[:16]

    def secret(self) -> str | None:
        """The client's secret, read anew at each call. SettingsError if its file cannot be read."""
        if self.client_secret_file is None:
            return self.client_secret.get_secret_value() if self.client_secret else None
        try:
            return self.client_secret_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise SettingsError(
                f"oidc.client_secret_file: {self.client_secret_file} cannot be read: {reason}. Put the secret of the "
                "provider's client there, readable for the process on the cluster's head."
            ) from None

    def rights(self, claims: Mapping[str, Any]) -> GroupRole | None:
        """What somebody with these claims of a token may do; None: no group of theirs has a role.

        Of several groups the highest role counts, with the folders of the groups that have that role: a role for one
        case must not become a role for another one's.
        """
        granted = [self.roles[group] for group in self._groups(claims) if group in self.roles]
        if not granted:
            return None
        role = max((each.role for each in granted), key=ROLES.index)
        under = [each.under for each in granted if each.role == role]
        if None in under:
            return GroupRole(role=role)
        return GroupRole(role=role, under=tuple(sorted({uri for each in under for uri in each or ()})))

    def _groups(self, claims: Mapping[str, Any]) -> list[str]:
        value = claims.get(self.groups_claim)
        if self.groups_claim == "email" and claims.get("email_verified") is not True:
            return []  # people may enter any address at some providers
        values = value if isinstance(value, list) else [value]
        return [each for each in values if isinstance(each, str)]


def is_secure(url: str) -> bool:
    """Whether a URL is https, or http on this machine."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    )


def display_name(claims: Mapping[str, Any]) -> str:
    """How pages and the audit log show somebody: the name with the e-mail address, as far as the token has them.

    Both are what the provider says, and may be those of somebody else too: only the subject identifies a person.
    """
    name = _text(claims.get("name")) or _text(claims.get("preferred_username"))
    email = _text(claims.get("email")) if claims.get("email_verified") is not False else ""
    return f"{name} <{email}>" if name and email and name != email else name or email or _text(claims.get("sub"))


def _text(value: Any) -> str:
    """A claim as a short line of printable text; empty if it is none."""
    return "".join(filter(str.isprintable, value))[:_MOST_CHARACTERS].strip() if isinstance(value, str) else ""
