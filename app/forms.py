"""What the pages with a form share: reading it, and the address to which a browser returns."""

from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.language.texts import N_

MOST_BYTES = 16 << 10  # of a form
API_AWAY = N_("The API does not answer. Wait until Raysift has started, then retry.")


async def read_body(request: Request, most_bytes: int) -> bytes | None:
    """The body of a request; None if it has more than so many bytes."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            return None
    return body


async def read_form(request: Request) -> dict[str, str]:
    """The first value of each field. HTTPException 413 if the form has more than MOST_BYTES."""
    body = await read_body(request, MOST_BYTES)
    if body is None:
        raise HTTPException(413, "too much for this form")
    return {name: value[0] for name, value in parse_qs(body.decode(errors="replace")).items()}


def query_string(request: Request) -> str:
    """The query of a request, without `?`. `request.url` raises UnicodeDecodeError for one that is not UTF-8."""
    return request.scope["query_string"].decode("latin-1")


def address_in_app(request: Request) -> str:
    """The path of a request with its query, as a link within the app."""
    query = query_string(request)
    return f"{request.scope['path']}?{query}" if query else request.scope["path"]
