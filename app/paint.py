"""The time to the first paint of the app's pages: browsers measure it, the API has it for its metrics."""

import math
from collections.abc import Callable
from contextlib import suppress

import httpx
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app.forms import read_body
from app.language.texts import _
from app.sign_in import address_of, authorization, is_own, token_of

PATH = "/api/first-paint"
MOST_BYTES = 32
# not of a page in the background, which is painted when somebody turns to it
SCRIPT = f"""<script>
if (document.visibilityState === "visible") new PerformanceObserver((list, observer) => {{
  const [paint] = list.getEntriesByName("first-contentful-paint")
  if (!paint) return
  observer.disconnect()
  navigator.sendBeacon("{PATH}", (paint.startTime / 1000).toFixed(3))
}}).observe({{ type: "paint", buffered: true }})
</script>""".encode()


class FirstPaint:
    """The route that takes what SCRIPT sends, and passes it on with the browser's session."""

    def __init__(self, api: Callable[[], httpx.AsyncClient]) -> None:
        """`api` returns a client with the API's base URL."""
        self._api = api

    @property
    def routes(self) -> list[Route]:
        """The route."""
        return [Route(PATH, self.note, methods=["POST"])]

    async def note(self, request: Request) -> Response:
        """Pass the seconds on. The page needs no answer: while the API is away they are lost."""
        if not is_own(request):
            return PlainTextResponse(_("A page of another site may not measure this one."), 403)
        try:
            seconds = float(await read_body(request, MOST_BYTES) or b"")
        except ValueError:
            seconds = math.nan
        if not math.isfinite(seconds):
            return PlainTextResponse(_("this is no number of seconds"), 422)
        headers = authorization(token_of(request.cookies), address_of(request))
        with suppress(httpx.TransportError):
            await self._api().post("/v1/first-paint", json={"seconds": seconds}, headers=headers)
        return Response(status_code=204)
