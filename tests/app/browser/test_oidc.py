"""Signing in with an OpenID Connect provider in a browser: the real API, a real provider, and what each role gets."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Request, Response, expect

from app.sign_in import COOKIE
from cluster.access.audit import Audit
from cluster.records import asset_id
from tests.support.browser import Visit, streamlit, wait_for_pictures
from tests.support.paths import ROOT
from tests.support.servers.oidc import provider_process
from tests.support.servers.real_api import api_process
from tests.support.stored import commit, found, row

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

VERA = {"sub": "u-vera", "name": "Vera", "email": "vera@example.org", "groups": ["everybody"]}
ROLF = {"sub": "u-rolf", "name": "Rolf", "email": "rolf@example.org", "groups": ["everybody", "reviewers"]}
EVE = {"sub": "u-eve", "name": "Eve", "groups": ["elsewhere"]}
ROLES = {"everybody": {"role": "viewer"}, "reviewers": {"role": "reviewer"}}


class Place:
    """An app with the real API and a provider, and one explicit picture that was scanned."""

    def __init__(self, url: str, issuer: str, audit: Audit, picture: Path) -> None:
        self.url, self.issuer, self.audit = url, issuer, audit
        self.original, self.asset = picture.read_bytes(), asset_id(picture.as_uri())

    def recorded(self, what: str) -> list[dict[str, Any]]:
        """The records of this act."""
        return [record for record in self.audit.records() if record["what"] == what]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("oidc")
    picture = folder / "explicit.jpg"
    picture.write_bytes(noise())
    explicit = row(
        picture.as_uri(), found("nsfw", "nsfw", 0.9), answered=("face",), thumbnail=noise(), width=320, height=240
    )
    commit(folder / "results", "a.parquet", explicit)
    with provider_process(VERA, ROLF, EVE) as address:
        issuer = address.replace("127.0.0.1", "localhost")  # another site than the app's, as cookies see it
        oidc = json.dumps({"issuer": issuer, "client_id": "raysift", "client_secret": "s", "roles": ROLES})
        with (
            api_process(folder / "state", folder / "results", RAYSIFT_OIDC=oidc) as port,
            streamlit(ROOT / "app" / "serve.py", RAYSIFT_API__PORT=str(port)) as url,
        ):
            yield Place(url, issuer, Audit(folder / "state"), picture)


def noise() -> bytes:
    """A picture whose neighbouring pixels differ, which none does after it was blurred."""
    sink = io.BytesIO()
    pixels = np.random.default_rng(7).integers(0, 255, (240, 320, 3), np.uint8)
    Image.fromarray(pixels).save(sink, "JPEG", quality=95)
    return sink.getvalue()


def detail(jpeg: bytes) -> float:
    """The mean difference of neighbouring pixels, in grey levels."""
    grey = np.asarray(Image.open(io.BytesIO(jpeg)).convert("L"), dtype=float)
    return float(np.abs(np.diff(grey, axis=1)).mean())


class OidcVisit(Visit):
    """A browser that goes to the app and to the provider only, and keeps what it received."""

    def __init__(self, browser: Browser, place: Place) -> None:
        self.place = place
        super().__init__(browser, place.url, session="")
        self.responses: list[Response] = []
        self.page.on("response", lambda response: self.responses.append(response))
        self.page.route(re.compile("^https://"), lambda route: route.fulfill(body=""))  # styles of the provider's pages

    def sign_in(self, subject: str, path: str = "/") -> Page:
        """Open a page, and sign in at the provider on the way to it."""
        page = self.open(path)
        page.get_by_role("link", name=f"Sign in with {urlsplit(self.place.issuer).netloc}").click()
        page.get_by_role("button", name=subject).click()
        return page

    def received(self, part: str) -> list[Response]:
        """The responses whose address contains this part."""
        return [response for response in self.responses if part in response.url]

    def _record_foreign_request(self, request: Request) -> None:
        theirs = self.place.issuer
        if not request.url.startswith((theirs, self.url)) and not request.frame.url.startswith(theirs):
            super()._record_foreign_request(request)


@pytest.fixture
def visit(browser: Browser, place: Place) -> Iterator[OidcVisit]:
    visit = OidcVisit(browser, place)
    yield visit
    visit.close()
    assert visit.strangers == []


def test_a_viewer_gets_an_explicit_picture_blurred_by_the_server(visit: OidcVisit, place: Place):
    page = visit.sign_in("u-vera", "/?label=nsfw")
    wait_for_pictures(page)
    assert "label=nsfw" in page.url
    expect(page.get_by_text(re.compile("^Vera <vera@.*example.org>, viewer$"))).to_be_visible()
    assert page.evaluate("document.cookie").find(COOKIE) == -1
    page.locator(".tile .open").first.click()
    expect(page.locator(".viewer h1")).to_have_text("explicit.jpg")
    instead = page.request.get(f"{place.url}/api/media/{place.asset}")
    pictures = [response.body() for response in visit.received("/api/thumb/")] + [instead.body()]
    assert len(pictures) >= 2 and not visit.received("/api/media/")
    assert max(map(detail, pictures)) < detail(place.original) / 10, "the bytes on the wire are blurred"
    assert not [view for view in place.recorded("original viewed") if view["who"].startswith("Vera")]
    assert visit.errors == []


def test_a_reviewers_view_of_the_original_stands_in_the_audit_log(visit: OidcVisit, place: Place):
    with visit.page.expect_response(lambda response: "/api/media/" in response.url) as original:
        page = visit.sign_in("u-rolf", f"/file?asset={place.asset}")
    assert original.value.body() == place.original
    expect(page.locator(".viewer h1")).to_have_text("explicit.jpg")
    (view,) = place.recorded("original viewed")
    assert (view["who"], view["subject"]) == ("Rolf <rolf@example.org>", f"{place.issuer} u-rolf")
    assert (view["role"], view["of"]) == ("reviewer", place.asset)
    assert place.recorded("signed in")[-1]["of"] == f"oidc:{place.issuer} u-rolf"
    assert place.audit.verify().fault is None


def test_the_address_that_signed_one_browser_in_signs_no_other_in_and_not_again(
    browser: Browser, visit: OidcVisit, place: Place
):
    page = visit.sign_in("u-rolf")
    expect(page.locator(".tile").first).to_be_visible()
    (callback,) = (response.url for response in visit.received("/sign-in/oidc/callback"))
    assert "code=" in callback
    other = OidcVisit(browser, place)
    for _ in range(2):
        other.page.goto(callback)
        expect(other.page.get_by_text("was not begun in this browser")).to_be_visible()
        other.open("/sign-in/oidc")  # now with a sign-in of its own that waits
        expect(other.page.get_by_role("button", name="u-rolf")).to_be_visible()
    other.open("/")
    expect(other.page.get_by_role("button", name="Sign in")).to_be_visible()
    other.close()
    page.goto(callback)
    expect(page.get_by_text("was not begun in this browser")).to_be_visible()


def test_somebody_in_no_group_with_a_role_is_told_so(visit: OidcVisit, place: Place):
    page = visit.sign_in("u-eve")
    expect(page.get_by_text("None of your groups may use Raysift")).to_be_visible()
    assert place.recorded("sign-in failed")[-1]["who"] == "Eve"
    visit.open("/")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_signing_out_ends_the_session_and_leads_to_the_provider_for_its_own(visit: OidcVisit, place: Place):
    page = visit.sign_in("u-vera")
    page.get_by_role("link", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    assert place.recorded("signed out")[-1]["subject"] == f"{place.issuer} u-vera"
    page.get_by_role("link", name="Sign out at").click()
    page.wait_for_url(f"{place.issuer}/**")
    visit.open("/")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
