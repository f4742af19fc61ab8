"""Passwords of local users, hashed by argon2id with the library's parameters (RFC 9106: 64 MiB, about 50 ms)."""

import secrets
from functools import cache

LEAST_CHARACTERS = 12


def hash_password(password: str) -> str:
    """The hash to store, with its salt and parameters in it."""
    from argon2 import PasswordHasher  # only now: `raysift scan` needs no passwords

    return PasswordHasher().hash(password)


def matches(password: str, stored: str | None) -> bool:
    """Whether it is the password of this hash. None, for an unknown user, takes as long and is False."""
    from argon2 import PasswordHasher
    from argon2.exceptions import VerificationError

    try:
        return PasswordHasher().verify(stored or _nobodys(), password) and stored is not None
    except VerificationError:
        return False


@cache
def _nobodys() -> str:
    return hash_password(secrets.token_hex(16))
