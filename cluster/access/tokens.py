"""Bearer tokens, rs_ID_SECRET, and signatures of URLs.

The id finds the stored row and may be shown and logged. The secret has 256 random bits, so that its SHA-256 is enough
at rest: nobody can try 2^256 values. Slow hashes such as argon2 are for passwords, which are guessable, and would cost
every request some 50 ms.
"""

import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cluster.access.private_files import create_private

KEY_VARIABLES = ("RAYSIFT_KEY", "RAYSIFT_KEY_FILE")  # the command line's key for the API: a secret and no setting

_TOKEN = re.compile(r"rs_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Token:
    """The two parts of a token. The secret is left out of its repr, so that no traceback or log shows it."""

    id: str
    secret: str = field(repr=False)

    def __str__(self) -> str:
        return f"rs_{self.id}_{self.secret}"

    @property
    def hash(self) -> str:
        """The SHA-256 of the secret, in hex, which is what is stored."""
        return hashlib.sha256(self.secret.encode()).hexdigest()


def new() -> Token:
    """A random token."""
    return Token(secrets.token_hex(6), secrets.token_urlsafe(32))


def parse(text: str) -> Token | None:
    """The token that a text is; None if it has not the form of one."""
    parts = _TOKEN.fullmatch(text.strip())
    return Token(parts[1], parts[2]) if parts else None


def of_jwt(text: str) -> Token:
    """The token under which a JWT of an OpenID Connect provider is stored. Nobody can write one with its hash."""
    return Token(hashlib.sha256(text.encode(errors="replace")).hexdigest()[:12], text)


def signing_secret(state_dir: Path) -> bytes:
    """The secret of signed URLs, made at the first call: state_dir/signing_secret, for its owner only."""
    path = state_dir / "signing_secret"
    if not path.exists():
        create_private(path, secrets.token_hex(32))
    return path.read_bytes()


def sign(secret: bytes, id: str, path: str, expires_at: int) -> str:
    """The signature with which whoever has the key or session `id` may GET `path` until `expires_at` (Unix time)."""
    message = json.dumps(["raysift url", id, path, expires_at])
    return hmac.new(secret, message.encode(), hashlib.sha256).hexdigest()


def signed(secret: bytes, id: str, path: str, expires_at: int, signature: str) -> bool:
    """Whether `signature` is that of these values."""
    return hmac.compare_digest(sign(secret, id, path, expires_at).encode(), signature.encode(errors="replace"))
