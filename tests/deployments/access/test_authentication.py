"""Whose request it is: what the API asks the head, and how long it relies on the answer."""

import asyncio
import statistics
import time
from types import SimpleNamespace

import pytest
from ray.exceptions import RayTaskError

from cluster.access import tokens
from cluster.access.identity import Identity
from deployments.access import authentication
from deployments.access.authentication import FRESH_S, STALE_S, Authentication, Refusal, Verifier
from deployments.access.service import Verdict

KEY = tokens.new()
ANN = Identity("ann", "reviewer", None, "0a")


class Head:
    """A stub of the deployment Access: gives `verdict`, or raises it; counts the questions."""

    def __init__(self, verdict=None):
        self.verdict = verdict or Verdict(ANN)
        self.asked = 0
        self.identify = self.identify_signed = SimpleNamespace(remote=self._answer)

    async def _answer(self, *_):
        self.asked += 1
        await asyncio.sleep(0.001)
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


@pytest.fixture
def clock():
    """The seconds that the verifier sees."""
    return [1000.0]


def scope(token="rs_x", path="/v1/assets", query=b"", scheme="Bearer"):
    headers = [(b"authorization", f"{scheme} {token}".encode())] if token else []
    return {"type": "http", "method": "GET", "path": path, "query_string": query, "headers": headers}


def refusal(verifier, asked):
    with pytest.raises(Refusal) as error:
        asyncio.run(verifier.identify(asked))
    return error.value.status, str(error.value)


def test_a_token_is_asked_for_once_in_five_seconds(clock):
    head = Head()
    verifier = Verifier(head, lambda: clock[0])
    for _ in range(3):
        assert asyncio.run(verifier.identify(scope())) == ANN
    assert head.asked == 1
    asyncio.run(verifier.identify(scope("rs_y")))
    assert head.asked == 2
    clock[0] += FRESH_S
    head.verdict = Verdict(reason="this key was revoked")
    assert refusal(verifier, scope()) == (401, f"this key was revoked. {authentication.HOW}.")
    assert refusal(verifier, scope())[0] == 401 and head.asked == 4, "a refusal is not remembered"


def test_requests_that_come_together_ask_once():
    head = Head()
    verifier = Verifier(head)

    async def together():
        return await asyncio.gather(*(verifier.identify(scope()) for _ in range(50)))

    assert asyncio.run(together()) == [ANN] * 50
    assert head.asked == 1


def test_while_the_head_is_away_known_tokens_are_accepted_for_a_while_and_others_are_not(clock):
    head = Head()
    verifier = Verifier(head, lambda: clock[0])
    asyncio.run(verifier.identify(scope()))
    head.verdict = TimeoutError()
    clock[0] += STALE_S - 1
    assert asyncio.run(verifier.identify(scope())) == ANN
    assert refusal(verifier, scope("rs_y"))[0] == 503
    clock[0] += 2
    assert refusal(verifier, scope())[0] == 503


def test_while_the_head_hangs_a_known_token_waits_a_moment_once_and_a_revocation_still_arrives(clock):
    head = Head()
    verifier = Verifier(head, lambda: clock[0])

    async def hang(*_):
        await asyncio.sleep(2.0)
        return Verdict(reason="this key was revoked")

    async def story():
        await verifier.identify(scope())
        clock[0] += FRESH_S
        head.identify = SimpleNamespace(remote=hang)
        began = time.monotonic()
        assert await verifier.identify(scope()) == ANN
        assert time.monotonic() - began < 1.5
        await asyncio.sleep(1.2)
        with pytest.raises(Refusal, match="revoked"):
            await verifier.identify(scope())

    asyncio.run(story())


def test_a_head_that_failed_is_not_asked_again_at_once_about_known_tokens(clock):
    head = Head()
    verifier = Verifier(head, lambda: clock[0])
    asyncio.run(verifier.identify(scope()))
    clock[0] += FRESH_S
    head.verdict = TimeoutError()
    for _ in range(10):
        assert asyncio.run(verifier.identify(scope())) == ANN
    assert head.asked == 2
    clock[0] += FRESH_S
    head.verdict = Verdict(reason="this key was revoked")
    assert refusal(verifier, scope())[0] == 401


def test_other_schemes_are_refused_and_nothing_shown_is_nobody():
    head = Head()
    verifier = Verifier(head)
    assert refusal(verifier, scope(scheme="Basic"))[0] == 401
    assert asyncio.run(verifier.identify(scope(token=None))) is None
    signature = b"id=0a&expires=99999999999&signature=ff"
    assert asyncio.run(verifier.identify(scope(None, "/v1/assets", signature))) is None
    assert head.asked == 0
    assert asyncio.run(verifier.identify(scope(None, f"/v1/assets/{'0' * 32}/media", signature))) == ANN
    assert refusal(verifier, scope(None, f"/v1/assets/{'0' * 32}/media", b"id=0a&expires=1&signature=ff"))[0] == 401
    assert refusal(verifier, scope(None, f"/v1/assets/{'0' * 32}/media", b"id=0a&expires=x&signature=ff"))[0] == 401


def test_no_token_is_kept_in_memory():
    verifier = Verifier(Head())
    token = tokens.new()
    asyncio.run(verifier.identify(scope(str(token))))
    assert token.secret not in repr(vars(verifier))


def test_a_check_costs_far_less_than_a_millisecond(monkeypatch):
    monkeypatch.setattr(authentication, "_current", [Verifier(Head())])

    async def route(scope, receive, send):
        assert scope["state"]["identity"] == ANN

    async def seconds(app):
        times = []
        for _ in range(2000):
            asked = scope(str(KEY)) | {"state": {"identity": ANN}}
            began = time.perf_counter()
            await app(asked, None, None)
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    async def side_by_side():
        return await seconds(Authentication(route)), await seconds(route)

    checked, plain = asyncio.run(side_by_side())
    print(f"\n{1e6 * checked:.1f} us with the check, {1e6 * plain:.1f} us without")
    assert checked - plain < 1e-3


def test_a_signed_address_in_the_header_is_not_the_key_of_whoever_signed_it(clock):
    path = f"/v1/assets/{'0a' * 16}/media"
    expires = int(time.time()) + 100
    signed = scope("", path, f"id=0a&expires={expires}&signature=abc".encode())
    head = Head()
    verifier = Verifier(head, lambda: clock[0])
    assert asyncio.run(verifier.identify(signed)) == ANN
    head.verdict = Verdict(reason="this is no key of Raysift")
    assert refusal(verifier, scope(f"{path} 0a {expires} abc"))[0] == 401
    assert head.asked == 2


def test_a_fault_in_checking_a_key_is_not_taken_for_an_absent_head(clock):
    head = Head()
    verifier = Verifier(head, lambda: clock[0])
    assert asyncio.run(verifier.identify(scope())) == ANN
    clock[0] += FRESH_S + 1
    head.verdict = RayTaskError("identify", "a traceback", RecursionError())
    assert refusal(verifier, scope())[0] == 503
    head.verdict = Verdict(reason="this key was revoked")
    assert refusal(verifier, scope())[0] == 401, "a revoked key is not trusted for longer"
