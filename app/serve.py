"""The web server: `streamlit run app/serve.py`. It serves the pages of main.py to browsers that are signed in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import streamlit as st
from starlette.middleware import Middleware

from app.language.choice import LanguageCookie
from app.paint import FirstPaint
from app.proxy import HostGuard, Relay, RootGuide
from app.purpose import Purpose, PurposeGuard
from app.sign_in import SignIn, SignInGuard
from cluster.settings import AppListener, Settings, load

_settings = cache(load)  # read when the server starts, not at import


def _listener() -> AppListener:
    settings: Settings = _settings()
    return settings.app


@cache
def _api() -> httpx.AsyncClient:
    # uvicorn closes a connection that was idle for 5 s: one that is used again at that moment would fail
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=32, keepalive_expiry=2.0)
    timeout = httpx.Timeout(30.0, pool=60.0)
    return httpx.AsyncClient(base_url=_settings().api.url, limits=limits, timeout=timeout, trust_env=False)


@asynccontextmanager
async def _lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
    api = _api()
    yield {}
    await api.aclose()


app = st.App(
    Path(__file__).with_name("main.py"),
    routes=[*SignIn(_api).routes, *Purpose().routes, *Relay(_api).routes, *FirstPaint(_api).routes],
    middleware=[
        Middleware(LanguageCookie),
        Middleware(RootGuide),
        Middleware(HostGuard, listens_on=_listener),
        Middleware(SignInGuard, api=_api),
        Middleware(PurposeGuard, required=lambda: _settings().access.purpose_required),
    ],
    lifespan=_lifespan,
)
