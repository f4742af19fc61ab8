"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a request that is repeated makes one job or case.

The queue of jobs remembers the keys, since there may be several API processes: deployments/jobs/callers.py.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

from fastapi import Header, HTTPException, Request
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from cluster.access.identity import Identity
from cluster.api_types import ProblemType
from deployments.jobs.callers import Caller, Claim
from deployments.problems import ProblemError

RETRY_AFTER_S = 2
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"')  # a string of RFC 9651
_BARE = re.compile(r"[!#-~]+")  # what many clients send instead

IdempotencyKey = Annotated[
    str | None,
    Header(
        max_length=255,
        description="a random string, such as a UUID: the same request with the same key within 24 h has the same "
        "answer, and changes nothing a second time",
    ),
]


async def caller_of(request: Request, who: Identity, key: str | None, most_jobs: int | None) -> Caller:
    """The caller as the queue of jobs knows it, with the key and a digest of this request.

    HTTPException 400 for a key that is not a string of RFC 9651, nor a word.
    """
    if key is None:
        return Caller(who.owner, most_jobs)
    word = match[1] if (match := _QUOTED.fullmatch(key)) else key if _BARE.fullmatch(key) else None
    if word is None:
        raise HTTPException(400, 'Idempotency-Key has to be a string in quotes: Idempotency-Key: "8e03978e-40d5"')
    query: bytes = request.scope["query_string"]  # request.url fails for one that is not UTF-8
    line = b"%s %s?%s\n" % (request.method.encode(), request.scope["path"].encode(errors="replace"), query)
    digest = hashlib.sha256(line + await request.body()).hexdigest()
    return Caller(who.owner, most_jobs, word, digest)


@asynccontextmanager
async def claimed(jobs: Any, caller: Caller) -> AsyncIterator[Claim]:
    """What the queue knows of a request: it is new, or answered. If the block fails, it may be repeated.

    `jobs`: the handle of the queue. ProblemError 409 while the request is being answered, 422 if another one had its
    key.
    """
    claim: Claim = await jobs.claim.remote(caller) if caller.key else Claim("new")
    if claim.state == "another":
        raise ProblemError(
            ProblemType.KEY_REUSED, 422, "this Idempotency-Key came with another request before: take a new one"
        )
    if claim.state == "in progress":
        wait = {"Retry-After": str(RETRY_AFTER_S)}
        detail = "the request with this Idempotency-Key is still being answered: ask again in a moment"
        raise ProblemError(ProblemType.IN_PROGRESS, 409, detail, wait)
    try:
        yield claim
    except (Exception, asyncio.CancelledError):  # the second: the client has gone
        if caller.key:
            with suppress(HTTPException, RayError, RayServeException):  # then the claim runs out
                await jobs.release.remote(caller)
        raise
