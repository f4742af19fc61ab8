"""The token that Chroma's guard demands and that its clients send, as `Authorization: Bearer`."""

import hashlib
import hmac

from cluster.permissions import operator_secret
from cluster.settings import Settings


def chroma_token(settings: Settings) -> str:
    """`chroma.token`, else a keyed hash of Ray's token, which every node of a cluster has; empty without either.

    The hash (HMAC-SHA256, in hex) does not reveal Ray's token to whoever listens at Chroma's address.
    """
    if settings.chroma.token:
        return settings.chroma.token
    secret = operator_secret(settings)
    return hmac.new(secret, b"raysift chroma", hashlib.sha256).hexdigest() if secret else ""
