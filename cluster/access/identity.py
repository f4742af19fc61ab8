"""Who asks: a name, a role, and the folders and buckets that it is limited to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["viewer", "reviewer", "operator", "admin"]  # each may do what those before it may
ROLES: tuple[Role, ...] = get_args(Role)
Prefixes = Sequence[str] | None  # folders, buckets and archives that a caller is limited to; None: it is not


def lies_under(uri: str, prefixes: Iterable[str], parent: str | None = None) -> bool:
    """Whether a file is, or lies in, one of these folders, buckets and containers, as normalized URIs.

    `parent`: URI of the file of the bucket that contains it.
    """
    return any(uri == prefix or uri.startswith(f"{prefix}/") or parent == prefix for prefix in prefixes)


@dataclass(frozen=True, slots=True)
class Identity:
    """A person or a program that has shown a valid key or session.

    `prefixes`: it sees only files in these folders, buckets and archives; None: all files. An empty tuple: none.
    """

    name: str
    role: Role
    prefixes: tuple[str, ...] | None = None
    id: str = ""  # of the key or session, as `raysift keys list` shows it; no secret
    holder: str = ""  # of a session: key:ID, user:NAME or oidc:ISSUER SUBJECT; empty for a key

    @property
    def owner(self) -> str:
        """Whose jobs and limits are meant: a key, or a user, who has another session after each sign-in."""
        return self.holder or f"key:{self.id}"

    @property
    def subject(self) -> str:
        """Of an OpenID provider's person: issuer and subject, as names are not unique. Empty for all others."""
        return self.holder.removeprefix("oidc:") if self.holder.startswith("oidc:") else ""

    def may(self, role: Role) -> bool:
        """Whether it may do what this role may."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def sees(self, uri: str, parent: str | None = None) -> bool:
        """Whether a file lies under its prefixes. `parent`: URI of the file of the bucket that contains it.

        The catalogue applies the same rule in SQL, see `queries.within`.
        """
        return self.prefixes is None or lies_under(uri, self.prefixes, parent)

    def sees_all(self, uris: Iterable[str]) -> bool:
        """Whether all these files, folders or buckets lie under its prefixes."""
        return all(self.sees(uri.rstrip("/")) for uri in uris)
