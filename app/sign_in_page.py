"""The page on which people sign in to the app, as HTML without scripts."""

import html
from urllib.parse import quote

import httpx
from starlette.responses import HTMLResponse

PATH = "/sign-in"
OIDC_PATH = f"{PATH}/oidc"  # leads to the OpenID Connect provider

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
}
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Raysift: sign in</title>
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
<label for="name">Name</label><input id="name" name="name" autocomplete="username" autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password">
<details><summary>Or with a key</summary><label for="key">Key</label>
<input id="key" name="key" type="password" autocomplete="off"></details>
<button>Sign in</button></form>{other}
<p>Users and keys are made on the cluster's machine: <code>raysift users add</code>, <code>raysift keys link</code>.</p>
</main></html>"""


AWAY = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<title>Raysift</title><main style="font: 15px/1.5 sans-serif; max-width: 22rem; margin: 12vh auto">
The API does not answer. Start it with <code>raysift up</code>; this page then reloads itself.</main></html>"""


def page(said: str, next_path: str, status: int = 200, provider: str = "", sign_out_url: str = "") -> HTMLResponse:
    """The page with a sentence. `next_path`: where it leads to. `provider`: the host of an OpenID Connect provider.

    `sign_out_url`: where the browser's session at that provider ends.
    """
    shown = f'<p class="{"bad" if status != 200 else "good"}" role="status">{html.escape(said)}</p>' if said else ""
    if sign_out_url:
        shown += f'<p><a href="{html.escape(sign_out_url)}">Sign out at {html.escape(provider)} too</a></p>'
    to = html.escape(f"{OIDC_PATH}?next={quote(next_path)}")
    other = f'<a class="button" href="{to}">Sign in with {html.escape(provider)}</a>' if provider else ""
    return HTMLResponse(_PAGE.format(said=shown, next=html.escape(next_path), other=other), status, HEADERS)


def sentence(answer: httpx.Response) -> str:
    """What the API says about a failed sign-in, for the page."""
    try:
        said = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return "Signing in is not possible now. The API's log has the reason."
    return said[:1].upper() + said[1:].split(". Send a key")[0].rstrip(".") + "."


def inside(path: str) -> str:
    """A path of this app; / for an address elsewhere."""
    is_inside = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if is_inside else "/"
