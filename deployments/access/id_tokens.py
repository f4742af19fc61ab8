"""Verification of a provider's JWTs: ID tokens of a sign-in, and bearer tokens. Import it late: it takes 0.2 s.

The signature of an ID token is checked although it comes from the provider's own address over TLS, where the standard
would not ask for that.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import ClaimError, ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from cluster.access.oidc import Oidc
from deployments.access.refusals import ProviderDown, TokenRefused

SKEW_S = 60  # between the provider's clock and ours
MOST_SUBJECT = 255  # characters, OpenID Connect Core 2
MOST_AGE_S = 24 * 3600  # of a bearer token: it cannot be read again who is still in which group
TYPES = (None, "jwt", "at+jwt", "application/at+jwt")  # of bearer tokens; others, as logout tokens, are for other uses

Claims = dict[str, Any]
Check = Callable[[jwt.Token], None]  # ClaimError or TokenRefused if a token is not valid here


class UnknownKey(Exception):
    """The token names a key that is not in the set: the provider may have new ones."""


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The keys of a provider, and the algorithms that it signs with."""

    keys: KeySet
    algorithms: Sequence[str]  # not empty, and none with a shared secret


def key_set(document: Claims) -> KeySet:
    """The keys in a provider's key document. Raises ProviderDown."""
    try:
        return KeySet.import_key_set(document)  # type: ignore[arg-type]
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProviderDown(f"its keys cannot be read: {type(error).__name__}") from None


def id_token_claims(id_token: str, signing: SigningKeys, settings: Oidc, nonce: str) -> Claims:
    """The claims of the valid ID token of a sign-in, as OpenID Connect Core, 3.1.3.7, says.

    UnknownKey; TokenRefused with the reason if it is not valid.
    """
    ours = settings.client_id

    def check(token: jwt.Token) -> None:
        claims = token.claims
        _validate(claims, settings.issuer, [ours])
        if claims.get("nonce") != nonce:
            raise ClaimError("nonce")
        if claims.get("azp", ours if claims["aud"] in (ours, [ours]) else None) != ours:
            raise ClaimError("azp")

    return _verified(id_token, signing, check, "the ID token")


def bearer_claims(token: str, signing: SigningKeys, settings: Oidc) -> Claims:
    """The claims of a valid access or ID token that a program sends, as RFC 9068, 4, says. UnknownKey; TokenRefused."""

    def check(token: jwt.Token) -> None:
        kind = token.header.get("typ")
        if (kind.lower() if isinstance(kind, str) else kind) not in TYPES:
            raise TokenRefused("the token is neither an access token nor an ID token")
        _validate(token.claims, settings.issuer, settings.audiences)
        if token.claims["iat"] < time.time() - MOST_AGE_S - SKEW_S:
            raise ExpiredTokenError("iat")

    return _verified(token, signing, check, "the token")


def bearer_ends_at(claims: Claims) -> float:
    """Until when a bearer token with these claims is valid, in seconds since 1970."""
    return float(min(claims["exp"], claims["iat"] + MOST_AGE_S)) + SKEW_S


def _verified(token: str, signing: SigningKeys, check: Check, what: str) -> Claims:
    # some providers add headers of their own
    registry = JWSRegistry(algorithms=signing.algorithms, strict_check_header=False)
    try:
        decoded = jwt.decode(token, signing.keys, registry=registry)
        check(decoded)
    except InvalidKeyIdError:
        raise UnknownKey(f"{what} is signed with a key that the provider does not publish") from None
    except ExpiredTokenError:
        raise TokenRefused(f"{what} has expired: is the clock of the cluster's head right?") from None
    except ClaimError as error:
        raise TokenRefused(f"{what} is not for us or not for now: its {error.claim} is wrong or missing") from None
    except (JoseError, ValueError, TypeError) as error:
        raise TokenRefused(f"{what}'s signature is not valid: {type(error).__name__}") from None
    return dict(decoded.claims)


def _validate(claims: Claims, issuer: str, audiences: Sequence[str]) -> None:
    """Check who made the token for whom, and when. ClaimError, or TokenRefused for sub."""
    jwt.JWTClaimsRegistry(
        leeway=SKEW_S,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "values": list(audiences)},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    ).validate(claims)
    if len(claims["sub"]) > MOST_SUBJECT or not claims["sub"].isprintable():
        raise TokenRefused("the token's sub is too long or no plain text")
