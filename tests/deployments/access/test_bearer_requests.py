"""Requests with a JWT of an OpenID Connect provider instead of a key, also of a real provider through the whole API."""

import asyncio
import inspect
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from cluster.access.audit import Audit
from cluster.access.identity import Identity
from cluster.access.oidc import Oidc
from cluster.settings import Settings
from deployments.access.authentication import Refusal, Verifier
from deployments.access.service import NO_JWT, UNMAPPED, Access, Verdict
from tests.support.api_server import application
from tests.support.servers.oidc import id_token_of, provider_process

ROLES = {"staff": {"role": "viewer"}, "leads": {"role": "operator", "under": ["s3://bucket/case-7"]}}


def test_the_api_does_not_take_a_token_longer_than_it_is_valid_while_the_head_is_away():
    clock = [1000.0]

    class Head:
        verdict: Any = Verdict(Identity("ann", "viewer"), ends_at=time.time() + 60)

        def __getattr__(self, _: str) -> Any:
            return SimpleNamespace(remote=self._answer)

        async def _answer(self, *_: Any) -> Any:
            if isinstance(self.verdict, Exception):
                raise self.verdict
            return self.verdict

    head = Head()
    verifier = Verifier(head, lambda: clock[0])
    scope = {
        "type": "http",
        "path": "/v1/assets",
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer a.b.c")],
    }
    assert asyncio.run(verifier.identify(scope)).name == "ann"
    head.verdict = TimeoutError()
    clock[0] += 55
    assert asyncio.run(verifier.identify(scope)).name == "ann"
    clock[0] += 10
    with pytest.raises(Refusal) as refusal:
        asyncio.run(verifier.identify(scope))
    assert refusal.value.status == 503


class Handle:
    """The handle of a deployment in this process."""

    def __init__(self, deployment: Access) -> None:
        self._deployment = deployment

    def __getattr__(self, name: str) -> Any:
        async def remote(*arguments: Any, **more: Any) -> Any:
            answer = getattr(self._deployment, name)(*arguments, **more)
            return await answer if inspect.isawaitable(answer) else answer

        return SimpleNamespace(remote=remote)


def test_a_program_calls_the_api_with_the_token_of_a_real_provider(tmp_path: Path):
    people = ({"sub": "u-ci", "name": "ci", "groups": ["leads"]}, {"sub": "u-eve", "groups": ["others"]})
    with provider_process(*people) as issuer:
        oidc = Oidc(issuer=issuer, client_id="raysift", audiences=("raysift",), roles=ROLES)
        settings = Settings(state_dir=tmp_path, oidc=oidc)

        def asked(token: str, method: str = "GET", path: str = "/v1/session", settings: Settings = settings) -> Any:
            handle = Handle(Access(settings))  # as if the head had been started again
            with application(identifies=Verifier(handle), access=handle) as app:
                headers = {"Authorization": f"Bearer {token}"}
                return TestClient(app, base_url="http://127.0.0.1").request(method, path, headers=headers)

        token, unmapped = id_token_of("u-ci", issuer), id_token_of("u-eve", issuer)
        assert asked(token).json() == {"name": "ci", "role": "operator", "prefixes": ["s3://bucket/case-7"]}
        assert asked(token, path="/v1/keys").status_code == 403, "a limited operator makes no keys"
        refused = asked(unmapped)
        assert (refused.status_code, refused.json()["detail"]) == (403, f"{UNMAPPED}.")
        assert "retry-after" not in refused.headers

        fewer = oidc.model_copy(update={"roles": {"leads": oidc.roles["staff"]}})
        again = asked(token, settings=settings.model_copy(update={"oidc": fewer}))
        assert again.json() == {"name": "ci", "role": "viewer", "prefixes": None}, "the present settings count"
        for changed in ({"audiences": ("another",)}, {"issuer": "http://127.0.0.1:9"}, {"audiences": ()}):
            elsewhere = settings.model_copy(update={"oidc": oidc.model_copy(update=changed)})
            assert asked(token, settings=elsewhere).status_code == (503 if "issuer" in changed else 401), changed
        without = asked(token, settings=settings.model_copy(update={"oidc": None}))
        assert without.status_code == 401 and NO_JWT in without.json()["detail"]

        assert asked(token, "DELETE").status_code == 204
        assert "revoked" in asked(token).json()["detail"]
    records = [record for record in Audit(tmp_path).records() if record.get("subject") == f"{issuer} u-ci"]
    assert [record["what"] for record in records] == ["signed in", "signed in", "signed in", "signed out"]
