"""Verification of an ID token, as OpenID Connect Core, 3.1.3.7, says. Import it late: its library takes 0.2 s.

The signature is checked although the token comes from the provider's own address over TLS, where the standard would not
ask for that.
"""

from typing import Any

from joserfc import jwt
from joserfc.errors import ClaimError, ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from cluster.access.oidc import Oidc
from deployments.access.refusals import ProviderDown, TokenRefused

ALGORITHMS = ("RS256", "ES256")  # not `none`, and none with a shared secret
SKEW_S = 60  # between the provider's clock and ours
MOST_SUBJECT = 255  # characters, OpenID Connect Core 2

_REGISTRY = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)  # some providers add headers of their own


class UnknownKey(Exception):
    """The token names a key that is not in the set: the provider may have new ones."""


def key_set(document: dict[str, Any]) -> KeySet:
    """The keys in a provider's key document. Raises ProviderDown."""
    try:
        return KeySet.import_key_set(document)  # type: ignore[arg-type]
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProviderDown(f"its keys cannot be read: {type(error).__name__}") from None


def verified(id_token: str, keys: KeySet, settings: Oidc, nonce: str) -> dict[str, Any]:
    """The claims of a valid ID token. UnknownKey; TokenRefused with the reason if it is not valid."""
    try:
        claims = dict(jwt.decode(id_token, keys, registry=_REGISTRY).claims)
        _validate(claims, settings, nonce)
    except InvalidKeyIdError:
        raise UnknownKey("the ID token is signed with a key that the provider does not publish") from None
    except ExpiredTokenError:
        raise TokenRefused("the ID token has expired: is the clock of the cluster's head right?") from None
    except ClaimError as error:
        raise TokenRefused(f"the ID token is not for this sign-in: its {error.claim} is wrong or missing") from None
    except (JoseError, ValueError, TypeError) as error:
        raise TokenRefused(f"the ID token's signature is not valid: {type(error).__name__}") from None
    return claims


def _validate(claims: dict[str, Any], settings: Oidc, nonce: str) -> None:
    """Check who made the token for whom, when, and for which sign-in. ClaimError, or TokenRefused for sub."""
    ours = settings.client_id
    jwt.JWTClaimsRegistry(
        leeway=SKEW_S,
        iss={"essential": True, "value": settings.issuer},
        aud={"essential": True, "value": ours},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    ).validate(claims)
    if claims.get("nonce") != nonce:
        raise ClaimError("nonce")
    if claims.get("azp", ours if claims["aud"] in (ours, [ours]) else None) != ours:
        raise ClaimError("azp")
    if len(claims["sub"]) > MOST_SUBJECT or not claims["sub"].isprintable():
        raise TokenRefused("the ID token's sub is too long or no plain text")
