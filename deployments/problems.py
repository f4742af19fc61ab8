"""Error responses as problem details (RFC 9457): the one place that makes them, and the handlers that lead there."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.api_types import InvalidValue, Problem, ProblemType

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 20  # named in one answer: a body may have thousands of invalid values
MOST_CHARACTERS = 200  # of a name in a body that is repeated in an answer

_TITLES = {
    ProblemType.INVALID: "The request is not valid",
    ProblemType.KEY_REUSED: "The Idempotency-Key belongs to another request",
    ProblemType.IN_PROGRESS: "The request with this Idempotency-Key is not answered yet",
    ProblemType.QUOTA: "A limit of this key is reached",
}
# what frameworks say without a sentence -> what the caller can do
_SENTENCES = {
    "Not Found": "there is no such route: /openapi.json lists them",
    "Method Not Allowed": "this route does not take that method: /openapi.json lists those it takes",
    "Content Too Large": "the body is larger than this route takes",
    "Invalid host header": "the API does not answer to this host name: call it by its own, or add it to api.names",
    "There was an error parsing the body": "the body cannot be read: send valid JSON, in UTF-8",
    "Internal Server Error": "this is a fault of Raysift, and not of the request: the API's log has the reason",
}


class ProblemError(HTTPException):
    """An error response with a type of its own."""

    def __init__(self, type: ProblemType, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)
        self.type = type


def answer(
    scope: Scope,
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    type: ProblemType = ProblemType.PLAIN,
    errors: Sequence[InvalidValue] | None = None,
) -> Response:
    """The error response to the request of this ASGI scope. `detail`: what is wrong, in a sentence for the caller."""
    sentence = _SENTENCES.get(detail, detail)
    problem = Problem(
        type=type,
        title=_TITLES.get(type) or HTTPStatus(status).phrase,
        status=status,
        detail=_encodable(sentence),
        instance=quote(scope["path"]),
        errors=None if errors is None else tuple(errors),
    )
    return Response(problem.model_dump_json(exclude_none=True), status, headers, MEDIA_TYPE)


def handle(app: FastAPI) -> None:
    """Have the application answer its own errors, and those of FastAPI, with problem details."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)


def refusal(scope: Scope, error: HTTPException) -> Response:
    """The error response for an HTTPException, with its own type if it is a ProblemError."""
    type = error.type if isinstance(error, ProblemError) else ProblemType.PLAIN
    return answer(scope, error.status_code, str(error.detail), error.headers, type)


async def _http_error(request: Request, error: Any) -> Response:
    return refusal(request.scope, error)


async def _invalid_request(request: Request, error: Any) -> Response:
    """422; `detail` is the first error, with the location of the value."""
    errors = [_invalid_value(each) for each in error.errors()[:MOST_ERRORS]]
    detail = f"{errors[0].loc}: {errors[0].detail}"
    return answer(request.scope, 422, detail, type=ProblemType.INVALID, errors=errors)


def _invalid_value(error: Mapping[str, Any]) -> InvalidValue:
    reason = error["msg"].removeprefix("Value error, ")
    if reason[1:2].islower():  # but not in "JSON decode error"
        reason = reason[0].lower() + reason[1:]
    where, *path = error["loc"]
    in_body = where == "body" and error["type"] != "json_invalid"  # of which the location is a character's number
    steps = [_encodable(str(step))[:MOST_CHARACTERS] for step in path]
    pointer = [quote(step.replace("~", "~0").replace("/", "~1")) for step in steps]
    return InvalidValue(
        detail=_encodable(reason),
        loc=".".join([str(where), *steps]),
        pointer="/".join(["#", *pointer]) if in_body else None,
    )


def _encodable(text: str) -> str:
    """The text without what UTF-8 cannot hold, such as a part of a file's name that is no Unicode."""
    return text.encode(errors="replace").decode()


class PlainErrors:
    """ASGI middleware around an application: replaces the error responses in plain text of its framework."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; an error response in plain text is sent as problem details, with the text as detail."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start: Message | None = None  # of a response that is being replaced
        text = b""

        async def send_problem(message: Message) -> None:
            nonlocal start, text
            if message["type"] == "http.response.start" and _is_plain_error(message):
                start = message
            elif start is None:
                await send(message)
            else:
                text += message.get("body", b"")
                if not message.get("more_body", False):
                    problem = answer(scope, start["status"], text.decode(errors="replace"), _kept(start))
                    await problem(scope, receive, send)

        await self.app(scope, receive, send_problem)


def _is_plain_error(start: Message) -> bool:
    return start["status"] >= 400 and dict(start["headers"]).get(b"content-type", b"").startswith(b"text/plain")


def _kept(start: Message) -> dict[str, str]:
    replaced = (b"content-type", b"content-length")
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"] if name not in replaced}
