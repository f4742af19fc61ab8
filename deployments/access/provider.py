"""An OpenID Connect provider as its client sees it: its addresses, its signing keys, the claims of its tokens."""

import asyncio
import hashlib
import math
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import httpx

from cluster.access.oidc import Oidc, is_secure
from deployments.access.refusals import ProviderDown, TokenRefused

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

    from deployments.access.id_tokens import SigningKeys

KNOWN_S = 3600.0  # how long the provider's description and its keys are kept
AGAIN_S = 10.0  # after a failure, or a key that is not known, until the provider is asked again
TIMEOUT_S = 4.0  # of a read from the provider; a request takes twice as long at most
MOST_BYTES = 1 << 20  # of an answer of the provider
ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
USUAL = ("RS256", "ES256")  # if the provider does not say with which algorithms it signs

Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True)
class Addresses:
    """What the provider's description says of itself."""

    authorization: str
    token: str
    keys: str
    end_session: str | None
    takes_basic: bool  # the token endpoint takes the client's secret as a password of HTTP
    algorithms: tuple[str, ...]  # of ASYMMETRIC, with which it signs


class Provider:
    """Asks one provider. Its description and keys are kept for KNOWN_S, and fetched by one request at a time."""

    def __init__(
        self,
        settings: Oidc,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`transport`: of the requests to the provider. `clock`: the seconds that pass."""
        self._settings = settings
        self._transport = transport
        self._clock = clock
        self._lock = asyncio.Lock()
        self._addresses: Addresses | None = None
        self._keys: KeySet | None = None
        self._described_at = self._keys_at = self._failed_at = -math.inf

    async def authorization_url(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Where a browser has to go to sign in. Raises ProviderDown."""
        addresses = await self.addresses()
        challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(self._settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return _with_query(addresses.authorization, query)

    async def sign_out_url(self) -> str | None:
        """Where a browser ends its session at the provider; None if it names no address. Raises ProviderDown."""
        end_session = (await self.addresses()).end_session
        return _with_query(end_session, {"client_id": self._settings.client_id}) if end_session else None

    async def claims(self, code: str, redirect_uri: str, nonce: str, verifier: str) -> dict[str, Any]:
        """The claims of the ID token for a code, checked.

        ProviderDown, TokenRefused, or SettingsError if the client's secret cannot be read.
        """
        addresses, secret = await self.addresses(), self._settings.secret()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        auth = None
        if secret is not None and addresses.takes_basic:  # RFC 6749, 2.3.1: both are form-encoded first
            auth = httpx.BasicAuth(quote_plus(self._settings.client_id), quote_plus(secret))
        else:
            form |= {"client_id": self._settings.client_id} | ({"client_secret": secret} if secret else {})
        status, answer = await self._json("POST", addresses.token, data=form, auth=auth)
        if status != 200:
            raise TokenRefused(f"the provider refuses the sign-in: {_code(answer.get('error')) or f'HTTP {status}'}")
        id_token = answer.get("id_token")
        if not isinstance(id_token, str):
            raise TokenRefused("the provider sent no ID token")
        return await self.check(id_token, nonce)

    async def check(self, id_token: str, nonce: str) -> dict[str, Any]:
        """The claims of an ID token. TokenRefused with the reason if it is not valid; ProviderDown."""
        from deployments.access.id_tokens import id_token_claims  # only now: it takes long, and few need it

        return await self._verified(lambda signing: id_token_claims(id_token, signing, self._settings, nonce))

    async def bearer_claims(self, token: str) -> tuple[dict[str, Any], float]:
        """The claims of a JWT that a program sends, and until when it is valid (seconds since 1970).

        TokenRefused with the reason if it is not valid; ProviderDown.
        """
        from deployments.access.id_tokens import bearer_claims, bearer_ends_at

        claims = await self._verified(lambda signing: bearer_claims(token, signing, self._settings))
        return claims, bearer_ends_at(claims)

    async def _verified(self, verify: Callable[["SigningKeys"], dict[str, Any]]) -> dict[str, Any]:
        """What `verify` says with the provider's keys; with new ones, if it knows too few."""
        from deployments.access.id_tokens import SigningKeys, UnknownKey

        algorithms = (await self.addresses()).algorithms
        try:
            return verify(SigningKeys(await self.keys(), algorithms))
        except UnknownKey:  # the provider may have new keys
            keys = await self.keys(AGAIN_S)
        try:
            return verify(SigningKeys(keys, algorithms))
        except UnknownKey as error:
            raise TokenRefused(str(error)) from None

    async def addresses(self) -> Addresses:
        """The provider's addresses. Raises ProviderDown."""
        if self._addresses is not None and self._clock() - self._described_at <= KNOWN_S:
            return self._addresses
        async with self._lock:
            if self._addresses is None or self._clock() - self._described_at > KNOWN_S:
                place = f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration"
                self._addresses = await self._fetch(place, lambda described: _parse(described, self._settings.issuer))
                self._described_at = self._clock()
            return self._addresses

    async def keys(self, not_older_s: float = KNOWN_S) -> "KeySet":
        """The provider's signing keys, of at most this age. Raises ProviderDown.

        Who is content with those that are known does not wait while somebody else has new ones fetched.
        """
        from deployments.access.id_tokens import key_set

        if self._keys is not None and self._clock() - self._keys_at <= not_older_s:
            return self._keys
        addresses = await self.addresses()
        async with self._lock:
            if self._keys is None or self._clock() - self._keys_at > not_older_s:
                self._keys = await self._fetch(addresses.keys, key_set)
                self._keys_at = self._clock()
            return self._keys

    async def _fetch(self, url: str, parse: Callable[[dict[str, Any]], Parsed]) -> Parsed:
        """What `parse` makes of a document; after a failure no request is made for AGAIN_S. Raises ProviderDown."""
        if self._clock() - self._failed_at < AGAIN_S:
            raise ProviderDown("the provider did not answer a moment ago")
        try:
            status, answer = await self._json("GET", url)
            if status != 200:  # also a redirect, which is not followed: it would lead to somebody else's keys
                raise ProviderDown(f"{url} answers with HTTP {status}")
            return parse(answer)
        except (ProviderDown, asyncio.CancelledError):  # the second: whoever asks waits no longer
            self._failed_at = self._clock()
            raise

    async def _json(self, method: str, url: str, **more: Any) -> tuple[int, dict[str, Any]]:
        """Status and JSON object of an answer; the object is empty if the body is none. Raises ProviderDown."""
        try:
            async with (
                asyncio.timeout(2 * TIMEOUT_S),  # in all: httpx's own timeout is one of each read
                httpx.AsyncClient(transport=self._transport, timeout=TIMEOUT_S) as client,
                client.stream(method, url, headers={"Accept": "application/json"}, **more) as answer,
            ):
                body = b""
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > MOST_BYTES:
                        raise ProviderDown(f"{url} answers with more than {MOST_BYTES} bytes")
                content = httpx.Response(answer.status_code, content=body)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise ProviderDown(f"{url} does not answer: {type(error).__name__}") from None
        try:
            values = content.json()
        except ValueError:
            values = None
        return content.status_code, values if isinstance(values, dict) else {}


def _parse(described: dict[str, Any], issuer: str) -> Addresses:
    """The addresses in a provider's description. ProviderDown if they are not those of this issuer, or not secure."""
    if described.get("issuer") != issuer:
        claimed = str(described.get("issuer"))[:200]
        raise ProviderDown(
            f"the provider calls itself {claimed!r}: write its name into oidc.issuer exactly so, if it is"
        )
    urls = {name: described.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
    end_session = described.get("end_session_endpoint")
    for name, url in {**urls, **({"end_session_endpoint": end_session} if end_session else {})}.items():
        if not isinstance(url, str) or not is_secure(url) or (urlsplit(url).scheme, issuer[:5]) == ("http", "https"):
            raise ProviderDown(f"the provider's {name} is missing or no https:// address")
    methods = _listed(described, "token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    authorization, token, keys = (str(url) for url in urls.values())
    signs_with = _listed(described, "id_token_signing_alg_values_supported") or USUAL
    algorithms = tuple(name for name in ASYMMETRIC if name in signs_with)
    if not algorithms:
        raise ProviderDown(f"the provider signs with none of {', '.join(ASYMMETRIC)}")
    return Addresses(authorization, token, keys, end_session, "client_secret_basic" in methods, algorithms)


def _listed(described: dict[str, Any], name: str) -> list[Any]:
    """A list in the provider's description; empty if there is none."""
    values = described.get(name)
    return values if isinstance(values, list) else []


def _with_query(url: str, query: dict[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def _code(error: Any) -> str:
    """An error code of OAuth, such as invalid_grant; empty if it is none, as it is shown and logged."""
    return error[:40] if isinstance(error, str) and error.replace("_", "").isalnum() and error.isascii() else ""
