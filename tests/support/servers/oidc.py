"""OpenID Connect providers for tests: a real one in a process of its own, and one whose answers a test changes."""

import hashlib
import json
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from joserfc.jws import JWSRegistry

from cluster.access.oidc import CALLBACK_PATH
from tests.support.browser import free_port
from tests.support.servers.process import running_server

CALLBACK = f"http://127.0.0.1:8501{CALLBACK_PATH}"


@contextmanager
def provider_process(*users: dict[str, Any]) -> Iterator[str]:
    """Run oidc-provider-mock, where everybody signs in by the name of a subject; yields its issuer."""
    port = free_port()
    claims = [part for user in users for part in ("--user-claims", json.dumps(user))]
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), "--require-nonce", "true", *claims]
    issuer = f"http://127.0.0.1:{port}"
    described = f"{issuer}/.well-known/openid-configuration"
    with running_server(command, described, 30, stderr=subprocess.DEVNULL):
        yield issuer


def id_token_of(subject: str, issuer: str) -> str:
    """An ID token of a provider process for the client `raysift`."""
    asked = {"response_type": "code", "client_id": "raysift", "redirect_uri": CALLBACK, "nonce": "n"}
    asked["scope"] = "openid profile"
    code = signed_in_as(subject, f"{issuer}/oauth2/authorize?{urlencode(asked)}")["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    answer = httpx.post(f"{issuer}/oauth2/token", data=form, auth=("raysift", "s"), trust_env=False)
    return str(answer.raise_for_status().json()["id_token"])


def signed_in_as(subject: str, url: str) -> dict[str, str]:
    """Sign in at a provider process as a browser does; returns the query with which it leads back."""
    answer = httpx.post(url, data={"sub": subject}, trust_env=False)
    assert answer.status_code == 302, answer.text
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


class ScriptedProvider:
    """A provider behind httpx's mock transport that checks PKCE, and whose answers a test changes.

    `claims` and `header` are added to each ID token, None removes one. `key` signs it; `published` are the keys to see.
    `faults`: path -> the answer there. `paths`: of the requests so far. `forgetful`: it takes a code more than once.
    """

    def __init__(self, issuer: str = "https://id.example.org/realm") -> None:
        self.issuer = issuer
        self.key: Any = new_key("first")
        self.published: list[Any] = [self.key]
        self.claims: dict[str, Any] = {"groups": ["staff"]}
        self.header: dict[str, Any] = {"alg": "RS256"}
        self.described: dict[str, Any] = {}
        self.faults: dict[str, httpx.Response] = {}
        self.paths: list[str] = []
        self.forgetful = False
        self.authorization: list[str | None] = []  # headers and forms of the token requests
        self.forms: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}
        self.transport = httpx.MockTransport(self._answer)

    def sign_in(self, url: str) -> dict[str, str]:
        """What the provider sends back with a browser that signs in: code and state."""
        asked = {name: value[0] for name, value in parse_qs(urlsplit(url).query).items()}
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        return {"code": code, "state": asked["state"]}

    def id_token(self, nonce: str | None = None) -> str:
        """An ID token with the claims, header and key that are set; without a nonce, as an access token has none."""
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": "raysift", "sub": "u-1", "iat": now, "exp": now + 300, "nonce": nonce}
        claims = {name: value for name, value in (claims | self.claims).items() if value is not None}
        header = {name: value for name, value in ({"kid": self.key.kid} | self.header).items() if value is not None}
        registry = JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
        return jwt.encode(header, claims, self.key, registry=registry)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/realm")
        self.paths.append(path)
        if path in self.faults:
            return self.faults[path]
        if path == "/.well-known/openid-configuration":
            ends = {"authorization_endpoint": "auth", "token_endpoint": "token", "jwks_uri": "keys"}
            urls = {name: f"{self.issuer}/{end}" for name, end in ends.items()}
            return httpx.Response(200, json={"issuer": self.issuer, **urls} | self.described)
        if path == "/keys":
            return httpx.Response(200, json=KeySet(self.published).as_dict(private=False))
        self.authorization.append(request.headers.get("authorization"))
        form = dict(parse_qsl(request.content.decode()))
        self.forms.append(form)
        asked = self._codes.get(form["code"]) if self.forgetful else self._codes.pop(form["code"], None)
        if asked is None or asked["redirect_uri"] != form["redirect_uri"]:
            return httpx.Response(400, json={"error": "invalid_grant"})
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if urlsafe_b64encode(digest).decode().rstrip("=") != asked["code_challenge"]:
            return httpx.Response(400, json={"error": "invalid_grant"})
        return httpx.Response(200, json={"access_token": "x", "id_token": self.id_token(asked["nonce"])})


@cache
def new_key(kid: str) -> RSAKey:
    """A key to sign with, by its id."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})
