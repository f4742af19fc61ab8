"""Search by a picture in the app: a scanned file or an upload, by appearance or by face."""

import io
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from app import address
from app.client import ApiError
from cluster.api_queries import LikenessQuery, SearchQuery
from cluster.records import asset_id
from tests.support.browser import Visit, app_over, chromium, settled
from tests.support.fakes.api import FakeApi
from tests.support.fakes.media import draw_picture
from tests.support.pages import client_of, drawn, words

FILM = asset_id("s3://evidence/case 7/clip_1.mp4")
UPLOAD = draw_picture(asset_id("x"), 640, 480, "x", 640)


def test_the_client_searches_by_image_or_face_of_a_file_or_an_upload():
    api = client_of(FakeApi())
    assert {hit.matched for hit in api.search(SearchQuery(like=FILM)).hits} == {"image"}
    assert {hit.matched for hit in api.search(SearchQuery(like=FILM, by="faces")).hits} == {"face"}
    sent = api.search_by_picture("a.jpg", io.BytesIO(UPLOAD), LikenessQuery(by="faces", limit=3))
    assert [hit.matched for hit in sent.hits] == ["face"] * 3
    assert api.search(SearchQuery(picture=sent.picture, limit=3)).hits == sent.hits
    with pytest.raises(ApiError, match="no face in that picture"):
        api.search_by_picture("noface.jpg", io.BytesIO(UPLOAD), LikenessQuery(by="faces"))


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("q", " exit ")], SearchQuery(q="exit")),
        ([("like", FILM), ("q", "x"), ("by", "faces")], SearchQuery(like=FILM, by="faces", q="x")),
        ([("like", FILM), ("asset", FILM), ("box", "0,0,1,1")], SearchQuery(like=FILM)),
        (
            [("asset", FILM), ("box", "0.1,0.20,0.5,1"), ("at_s", "2.5"), ("kind", "image")],
            SearchQuery(asset=FILM, box="0.1,0.2,0.5,1", at_s=2.5, kind=("image",)),
        ),
        ([("asset", FILM), ("box", "1,0,0,1"), ("q", "x"), ("by", "faces")], SearchQuery(q="x")),
        ([("asset", FILM)], None),
        ([("asset", FILM), ("box", "0.1,0,0.1000001,1")], None),
        ([("like", "../x"), ("q", "x"), ("by", "faces")], SearchQuery(q="x")),
        ([("picture", FILM), ("kind", "image"), ("kind", "video")], SearchQuery(picture=FILM, kind=("image", "video"))),
        (
            [("q", "x"), ("where", "face:"), ("where", "no condition"), ("case", "films"), ("sort", "name")],
            SearchQuery(q="x", where=("face:",), case="films"),
        ),
        ([("q", "  "), ("kind", "image")], None),
    ],
)
def test_a_url_is_a_search_with_filters(pairs, expected):
    assert address.search_of(pairs) == expected
    if expected is not None:
        assert address.search_of([*address.search(expected), ("case", expected.case or "*")]) == expected


def test_words_and_a_face_are_searched_together_and_exact_files_come_first(visit):
    at = visit("search", q="beach")
    assert "No file has exactly these words" in words(at) and "similar files, best first" in words(at)
    at = visit("search", q="exit", where=["face:"], kind=["image"])
    assert "#### 12 files with these words" in words(at) and "No other file is similar enough" in words(at)
    tiles = drawn(at, "gallery")["items"]
    assert {chip["text"] for tile in tiles for chip in tile["chips"]} >= {"face", "text"}
    assert all({"face", "text"} <= {chip["text"] for chip in tile["chips"]} for tile in tiles)
    assert drawn(at, "conditions")["conditions"] == [["anything by face"]]
    (to_browse,) = (link.proto for link in at.get("page_link") if link.proto.label == "List all in Browse")
    assert parse_qs(to_browse.query_string)["where"] == ["face:", ":~exit|name~exit"]
    context = parse_qs(parse_qs(urlsplit(tiles[0]["href"]).query)["in"][0])
    assert context == {"q": ["exit"], "where": ["face:"], "kind": ["image"]}
    like = parse_qs(urlsplit(tiles[0]["like"]).query)
    assert like == {"like": [tiles[0]["id"]], "where": ["face:"], "kind": ["image"]}


def test_nonsense_finds_nothing_and_says_so(visit):
    at = visit("search", q="zxqwvut kjhgf")
    assert "none is similar enough" in words(at)
    assert {each.proto.component_name for each in at.get("bidi_component")} == {"raysift_keys", "raysift_facets"}


def test_a_url_can_search_by_face_and_its_hits_link_back_to_it(visit):
    at = visit("search", like=FILM, by="faces")
    assert "38 with a face of clip" in words(at)
    first = drawn(at, "gallery")["items"][0]
    assert first["note"] == "Same face at 0:00 · 0.80"
    assert "by%3Dfaces" in first["href"]


def test_neighbours_of_a_hit_are_hits_of_the_same_search(visit):
    ways = drawn(visit("file", asset=FILM, **{"in": f"like={FILM}&by=faces"}), "viewer")["ways"]
    assert (ways["where"], ways["back"]) == ("Search", f"/search?like={FILM}&by=faces")
    assert asset_id("s3://evidence/case 7/clip_0.mp4") in ways["previous"]
    ways = drawn(visit("file", asset=FILM, **{"in": "q=news&kind=video"}), "viewer")["ways"]
    assert ways["back"] == "/search?q=news&kind=video"
    assert asset_id("s3://evidence/case 7/clip_2.mp4") in ways["next"]


def test_a_file_has_links_to_searches_for_more_like_it_and_for_its_face_if_it_has_one(visit):
    links = {link.proto.label for link in visit("file", asset=FILM).get("page_link")}
    assert {"More like this", "Same face"} <= links
    faceless = asset_id("s3://evidence/case 7/IMG_0002.jpg")
    links = {link.proto.label for link in visit("file", asset=faceless).get("page_link")}
    assert "More like this" in links and "Same face" not in links


def test_tiles_of_browse_link_to_more_like_them_if_there_is_a_picture(visit):
    tiles = {tile["name"]: tile for tile in drawn(visit(kind=["audio", "video"], case="*"), "gallery")["items"]}
    assert parse_qs(urlsplit(tiles["clip_1.mp4"]["like"]).query) == {"case": ["*"], "like": [FILM]}
    assert tiles["call_0.wav"]["like"] == ""


def test_an_expired_upload_has_to_be_chosen_again(visit):
    assert "choose the picture again" in words(visit("search", picture="0" * 32))


@pytest.fixture(scope="module")
def visitor() -> Iterator[Visit]:
    with app_over(FakeApi()) as url, chromium() as browser:
        visitor = Visit(browser, url)
        yield visitor
        assert visitor.strangers == []


@pytest.mark.ray
@pytest.mark.timeout(180)
def test_an_upload_is_searched_by_image_then_by_face_and_a_hit_links_back(visitor: Visit):
    page = visitor.open("/search")
    page.get_by_role("button", name="By a picture").click()
    expect(page.get_by_test_id("stFileUploaderDropzone")).to_be_visible()
    settled(page)
    page.locator("input[type=file]").set_input_files([{"name": "me.jpg", "mimeType": "image/jpeg", "buffer": UPLOAD}])
    expect(page.get_by_role("heading", name="40 like me")).to_be_visible()
    expect(page.locator("input[type=file]")).to_be_hidden()  # the popover does not cover the hits
    page.get_by_text("The same face").click()
    expect(page.get_by_role("heading", name="38 with a face of me")).to_be_visible()
    expect(page.locator(".tile").first).to_contain_text("Same face")
    names = page.locator(".tile .name").all_inner_texts()
    page.locator(".tile .open").nth(1).click()
    expect(page.locator(".viewer h1")).to_have_text(names[1])
    page.keyboard.press("ArrowRight")
    expect(page.locator(".viewer h1")).to_have_text(names[2])
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="38 with a face of me")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="38 with a face of your picture")).to_be_visible()
    expect(page.get_by_text("only for you")).to_be_visible()
    page.locator(".tile .open").nth(1).focus()
    page.keyboard.press("m")
    expect(page.get_by_role("heading", name=f"like {names[1].split('.')[0]}")).to_be_visible()
    page.get_by_role("textbox", name="Search").fill("harbour")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="files with these words")).to_be_visible()
    settled(page)
    page.get_by_role("button", name="Without the picture").click()
    expect(page.get_by_text("These words with")).to_have_count(0)
    page.wait_for_url("**/search?q=harbour")
    assert page.url.endswith("/search?q=harbour")


@pytest.mark.ray
@pytest.mark.timeout(180)
def test_an_upload_without_a_face_shows_a_message_and_can_be_searched_by_image(visitor: Visit):
    page = visitor.open("/search")
    page.get_by_role("button", name="By a picture").click()
    expect(page.get_by_test_id("stFileUploaderDropzone")).to_be_visible()
    settled(page)
    page.locator("input[type=file]").set_input_files(
        [{"name": "noface.jpg", "mimeType": "image/jpeg", "buffer": UPLOAD}]
    )
    page.get_by_text("The same face").click()
    expect(page.get_by_text("there is no face in that picture")).to_be_visible()
    settled(page)  # what was drawn before the message is there for a moment
    page.get_by_text("What looks like it").click()
    expect(page.get_by_role("heading", name="40 like noface")).to_be_visible()
