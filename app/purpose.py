"""The purpose for which somebody uses the app: asked for once a session, where the settings demand one.

A cookie holds it, with a mark of the session it was given in: who signs in later is asked again. The app sends it to
the API with every request, which adds it to the audit records that need a purpose.
"""

import hashlib
import html
from collections.abc import Callable, Mapping
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app.forms import address_in_app, read_form
from app.language.choice import current
from app.language.texts import _
from app.oidc import is_https
from app.sign_in import COOKIE_S, OPEN, is_own, token_of
from app.sign_in_page import HEADERS, inside
from cluster.access.rules import MOST_CHARACTERS

COOKIE, PATH = "raysift_purpose", "/purpose"
_PAGE = """<!doctype html><html lang="{lang}"><meta charset="utf-8"><title>Raysift: {title}</title>
<meta name="viewport" content="width=device-width">
<style>:root {{ color-scheme: light dark }}
body {{ font: 15px/1.5 sans-serif; max-width: 22rem; margin: 12vh auto; padding: 0 1rem }}
h1 {{ font-size: 1.4rem; color: #2b8ba3 }} p {{ font-size: .9rem }}
input, button {{ font: inherit; width: 100%; box-sizing: border-box; padding: .5rem; border-radius: 6px;
  border: 1px solid #8a979e }}
button {{ margin-top: 1.2rem; background: #0f6e84; color: #fff; border: 0; cursor: pointer }}</style>
<main><h1>{title}</h1><form method="post" action="/purpose"><input type="hidden" name="next" value="{next}">
<label for="purpose">{question}</label>
<input id="purpose" name="purpose" value="{purpose}" maxlength="{most}" required autofocus autocomplete="off"
placeholder="{example}">
<button>{go_on}</button></form>
<p>{recorded}</p>
</main></html>"""


def purpose_of(cookies: Mapping[str, str]) -> str:
    """The purpose that was given in this session, "" if none was."""
    mark, _dot, text = cookies.get(COOKIE, "").partition(".")
    return unquote(text) if mark and mark == _mark(cookies) else ""


class Purpose:
    """The routes of the page that asks for the purpose."""

    @property
    def routes(self) -> list[Route]:
        """The routes: the page, and its form."""
        return [Route(PATH, self.show, methods=["GET"]), Route(PATH, self.keep, methods=["POST"])]

    async def show(self, request: Request) -> Response:
        """The page, with the purpose that was given before."""
        values = {
            "next": inside(request.query_params.get("next", "/")),
            "purpose": purpose_of(request.cookies),
            "lang": current(),
            "title": _("Purpose"),
            "question": _("For what do you use Raysift in this session?"),
            "example": _("such as the number of a case"),
            "go_on": _("Continue"),
            "recorded": _(
                "It is recorded with searches by a face, with looking at groups of faces and correcting them, with "
                "enrolling, naming and purging people, with explicit originals and reports."
            ),
        }
        shown = {name: html.escape(value, quote=True) for name, value in values.items()}
        return HTMLResponse(_PAGE.format(most=MOST_CHARACTERS, **shown), 200, HEADERS)

    async def keep(self, request: Request) -> Response:
        """Keep the purpose for the session, and go on to the page that was asked for."""
        if not is_own(request):  # else a page of another site could say for what somebody acts
            return PlainTextResponse(_("A page of another site may not set your purpose."), 403)
        values = await read_form(request)
        purpose, next_path = " ".join(values.get("purpose", "").split()), inside(values.get("next", "/"))
        if not purpose:
            return RedirectResponse(f"{PATH}?next={quote(next_path)}", 303)
        answer = RedirectResponse(next_path, 303, {"Cache-Control": "no-store"})
        value = f"{_mark(request.cookies)}.{quote(purpose[:MOST_CHARACTERS], safe='')}"
        answer.set_cookie(COOKIE, value, COOKIE_S, path="/", secure=is_https(request), httponly=True, samesite="lax")
        return answer


class PurposeGuard:
    """ASGI middleware: where a purpose is demanded, pages send a browser without one to the page that asks for it."""

    def __init__(self, app: ASGIApp, required: Callable[[], bool]) -> None:
        self.app = app
        self._required = required

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or redirect it. What is no page is passed on: the API refuses what needs a purpose."""
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] not in (PATH, *OPEN):
            request = Request(scope)
            is_page = "text/html" in request.headers.get("accept", "") and not scope["path"].startswith("/api/")
            if is_page and token_of(request.cookies) and self._required() and not purpose_of(request.cookies):
                to = quote(address_in_app(request))
                return await RedirectResponse(f"{PATH}?next={to}", 303)(scope, receive, send)
        await self.app(scope, receive, send)


def _mark(cookies: Mapping[str, str]) -> str:
    """A mark of the session of these cookies, from which it cannot be computed."""
    return hashlib.sha256(token_of(dict(cookies)).encode()).hexdigest()[:16]
