"""The page on which people sign in to the app, as HTML without scripts."""

import html
from urllib.parse import quote

import httpx
from starlette.responses import HTMLResponse

from app.language.choice import current
from app.language.texts import _

PATH = "/sign-in"
OIDC_PATH = f"{PATH}/oidc"  # leads to the OpenID Connect provider

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
}
_PAGE = """<!doctype html><html lang="{lang}"><meta charset="utf-8"><title>Raysift: {title}</title>
<meta name="viewport" content="width=device-width">
<style>
:root {{ color-scheme: light dark; --line: #d7dde0; --main: #0f6e84; --bad: #a3261b }}
@media (prefers-color-scheme: dark) {{ :root {{ --line: #323c42; --main: #6cc3d8; --bad: #ff8f85 }}
  body {{ background: #12171a; color: #e3e9ec }} }}
body {{ font: 15px/1.5 sans-serif; max-width: 22rem; margin: 12vh auto; padding: 0 1rem }}
h1 {{ font-size: 1.4rem; color: var(--main) }}
label {{ display: block; margin: .9rem 0 .2rem }}
input, button {{ font: inherit; width: 100%; box-sizing: border-box; padding: .5rem; border: 1px solid var(--line);
  border-radius: 6px }}
button, a.button {{ margin-top: 1.2rem; background: #0f6e84; color: #fff; border: 0; cursor: pointer }}
a.button {{ display: block; padding: .5rem; border-radius: 6px; text-align: center; text-decoration: none }}
p.bad {{ color: var(--bad) }} p, summary {{ font-size: .9rem }}
</style>
<main><h1>Raysift</h1>{said}
<form method="post" action="/sign-in"><input type="hidden" name="next" value="{next}">
<label for="name">{name}</label><input id="name" name="name" autocomplete="username" autofocus>
<label for="password">{password}</label>
<input id="password" name="password" type="password" autocomplete="current-password">
<details><summary>{or_key}</summary><label for="key">{key}</label>
<input id="key" name="key" type="password" autocomplete="off"></details>
<button>{sign_in}</button></form>{other}
<p>{made}</p>
</main></html>"""
_AWAY = """<!doctype html><html lang="{lang}"><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<title>Raysift</title><main style="font: 15px/1.5 sans-serif; max-width: 22rem; margin: 12vh auto">
{text}</main></html>"""


def page(said: str, next_path: str, status: int = 200, provider: str = "", sign_out_url: str = "") -> HTMLResponse:
    """The page with a sentence. `next_path`: where it leads to. `provider`: the host of an OpenID Connect provider.

    `sign_out_url`: where the browser's session at that provider ends.
    """
    shown = f'<p class="{"bad" if status != 200 else "good"}" role="status">{html.escape(said)}</p>' if said else ""
    if sign_out_url:
        text = _("Sign out at {provider} too", provider=provider)
        shown += f'<p><a href="{html.escape(sign_out_url)}">{html.escape(text)}</a></p>'
    to = html.escape(f"{OIDC_PATH}?next={quote(next_path)}")
    text = _("Sign in with {provider}", provider=provider)
    other = f'<a class="button" href="{to}">{html.escape(text)}</a>' if provider else ""
    texts = {
        "lang": current(),
        "title": _("sign in"),
        "name": _("Name"),
        "password": _("Password"),
        "or_key": _("Or with a key"),
        "key": _("Key"),
        "sign_in": _("Sign in"),
        "made": _(
            "Users and keys are made on the cluster's machine: <code>raysift users add</code>, "
            "<code>raysift keys link</code>."
        ),
    }
    return HTMLResponse(_PAGE.format(said=shown, next=html.escape(next_path), other=other, **texts), status, HEADERS)


def away() -> str:
    """The page while the API does not answer; it loads itself again."""
    text = _("The API does not answer. Start it with <code>raysift up</code>; this page then reloads itself.")
    return _AWAY.format(lang=current(), text=text)


def sentence(answer: httpx.Response) -> str:
    """What the API says about a failed sign-in, for the page."""
    try:
        said = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return _("Signing in is not possible now. The API's log has the reason.")
    return said[:1].upper() + said[1:].split(". Send a key")[0].rstrip(".") + "."


def inside(path: str) -> str:
    """A path of this app; / for an address elsewhere."""
    is_inside = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if is_inside else "/"
