"""One delivery of a webhook by the Standard Webhooks scheme: its headers with the signature, and the request."""

import base64
import hashlib
import hmac
import time

import httpx

from cluster.errors import SettingsError
from cluster.webhooks.endpoint import Webhook

TIMEOUT_S = 10.0  # for a connection, and for each part of the answer


def message_id(*facts: object) -> str:
    """The id of the message about these facts: the same in every attempt, also after a restart."""
    return "msg_" + hashlib.sha256("\0".join(map(str, facts)).encode()).hexdigest()[:32]


def signed(secret: bytes, id: str, at: int, body: bytes) -> dict[str, str]:
    """The headers that prove the sender: an HMAC-SHA256 of the id, the time in seconds since 1970 and the body."""
    digest = hmac.new(secret, b"%s.%d.%s" % (id.encode(), at, body), hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": id, "webhook-timestamp": str(at), "webhook-signature": signature}


def deliver(webhook: Webhook, id: str, body: bytes) -> str:
    """POST the body. Returns "" if it was taken (a status of 2xx), else the reason why not. Follows no redirect."""
    try:
        headers = signed(webhook.secret(), id, int(time.time()), body) | {"content-type": "application/json"}
        # no proxy and no password of the environment; the body of the answer is not read
        with (
            httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", webhook.url, content=body, headers=headers) as answer,
        ):
            return "" if answer.is_success else f"it answers {answer.status_code}"
    except SettingsError as error:
        return str(error)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return f"{type(error).__name__}: {error}"
