"""Which language a browser gets: that of its address (?lang=de), else the one it had last, else the one it asks for."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Literal, get_args

import streamlit as st
from babel import negotiate_locale
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.runtime.scriptrunner import get_script_run_ctx

Language = Literal["en", "de"]
NAMES: dict[Language, str] = {"en": "English", "de": "Deutsch"}
LANGUAGES: tuple[Language, ...] = get_args(Language)
PARAMETER, COOKIE, COOKIE_S = "lang", "raysift_language", 365 * 24 * 3600
# one server answers many browsers: a request has its own context, and so has the thread of each run of a page
_current: ContextVar[Language | None] = ContextVar("language", default=None)


def current() -> Language:
    """The language of the request or run of a page that calls this; English outside of both."""
    if (known := _current.get()) is not None:
        return known
    if get_script_run_ctx(suppress_warning=True) is None:
        return LANGUAGES[0]
    accepted = st.context.headers.get("Accept-Language", "")
    language = chosen(st.query_params.get(PARAMETER, ""), st.context.cookies.to_dict(), accepted)
    _current.set(language)
    return language


def chosen(named: str, cookies: Mapping[str, str], accepted: str) -> Language:
    """The language for a browser. `named`: in its address; `accepted`: its header Accept-Language."""
    for language in (named, cookies.get(COOKIE, "")):
        if (known := _known(language)) is not None:
            return known
    return _known(negotiate_locale(_by_preference(accepted), LANGUAGES, sep="-") or "") or LANGUAGES[0]


def _known(text: str) -> Language | None:
    return next((language for language in LANGUAGES if language == text), None)


def _by_preference(accepted: str) -> list[str]:
    """The languages of the header Accept-Language, such as `de-DE,de;q=0.9,en;q=0.8`, the preferred first."""
    weights: list[tuple[float, str]] = []
    for part in accepted.split(","):
        language, _, weight = part.strip().partition(";q=")
        try:
            weights.append((float(weight or 1), language))
        except ValueError:
            continue
    return [language for weight, language in sorted(weights, key=lambda pair: -pair[0]) if weight > 0]


class LanguageCookie:
    """ASGI middleware: gives each request its language, and lets a browser keep one that an address names."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; its answer sets the cookie if the address names a language."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request = Request(scope)
        named = _known(request.query_params.get(PARAMETER, ""))
        _current.set(chosen(named or "", request.cookies, request.headers.get("accept-language", "")))

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start" and named:
                kept = Response()
                kept.set_cookie(COOKIE, named, COOKIE_S, path="/", httponly=True, samesite="lax")
                message = {**message, "headers": [*message["headers"]]}
                MutableHeaders(raw=message["headers"]).append("set-cookie", kept.headers["set-cookie"])
            await send(message)

        await self.app(scope, receive, send_with_cookie)
