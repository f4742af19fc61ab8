"""Every page of the app that is looked at, and what must be drawn on it before it is judged.

A new page of app/views needs a place here: test_pages.py says so. Then `make pictures` draws its picture.
"""

from typing import NamedTuple

from playwright.sync_api import Page

from cluster.api_types import File
from cluster.people.watch_types import WatchKind
from cluster.records import asset_id
from cluster.upkeep.api_types import ClusterState
from tests.support.browser import settled
from tests.support.fakes.api import FakeApi
from tests.support.fakes.files import FOLDER, HOSTILE_LINE, HOSTILE_NAME, files

CASE = "harbour"
WATCHED: dict[WatchKind, str] = {"people": "Erin Example", "logos": "Harbour Lines"}
NAMED = ("IMG_0001.jpg", "IMG_0005.jpg")  # whose faces are those of who is watched for
MOST_FILES = 24  # axe looks at every tile

# JavaScript: whether nothing is being drawn any more, and the pictures in the window are there
_DRAWN = """() => {
  if (document.querySelector("[data-testid=stSkeleton], [data-testid=stSpinner]")) return false
  const pictures = []
  const walk = node => { for (const element of node.querySelectorAll("*")) {
    if (element.shadowRoot) walk(element.shadowRoot)
    if (element.tagName === "IMG") pictures.push(element) } }
  walk(document)
  const far = box => box.top > innerHeight || box.bottom < 0 || !box.width
  return pictures.every(image => image.complete || far(image.getBoundingClientRect())) }"""


class Place(NamedTuple):
    """A page in one shape, such as Browse as a table. `view`: its module in app/views."""

    name: str
    view: str
    path: str
    shows: str  # selector of what comes last


PLACES = (
    Place("cases", "cases", "/cases", "text=The harbour, 2026"),
    Place("browse", "browse", f"/?case={CASE}", ".tile img"),
    Place("table", "browse", f"/?case={CASE}&view=table", ".dvn-scroller"),
    Place("overview", "overview", f"/overview?case={CASE}", ".mark-rect path"),
    Place("search", "search", f"/search?case={CASE}&q=harbour", ".tile"),
    Place("people", "people", f"/people?case={CASE}", ".tile"),
    Place("watch_list", "people", f"/people?case={CASE}&list=watched", "[data-testid=stMain] [data-testid=stPageLink]"),
    Place("logos", "logos", f"/logos?case={CASE}", "text=Harbour Lines"),
    Place("review", "review", f"/review?case={CASE}", ".viewer h1"),
    Place("analyze", "analyze", "/analyze?case=*", "[data-testid=stFileUploader]"),
    Place("jobs", "jobs", "/jobs?case=*", "[class*=st-key-card]"),
    Place("cluster", "cluster", "/cluster?case=*", "[role=graphics-document]"),
    Place("settings", "settings", "/settings?case=*", "text=scanning.roots"),
    Place("left_out", "left_out", "/left_out?case=*", ".dvn-scroller"),
    Place("file", "file", f"/file?case={CASE}&asset={asset_id(f'{FOLDER}/clip_1.mp4')}", ".lane"),
    Place("picture", "file", f"/file?case={CASE}&asset={asset_id(f'{FOLDER}/IMG_0003.jpg')}", ".stage .box"),
)


def harbour() -> FakeApi:
    """An API with a case and a job that is over, and without hostile names and texts, which no picture should show."""
    known = [_harmless(file) for file in files() if file.name != HOSTILE_NAME][:MOST_FILES]
    api = FakeApi(known)
    api.sessions.name = "Ann"
    api.cases.store.add(CASE, "The harbour, 2026", (FOLDER,), "Ann")
    api.jobs.begin([FOLDER], state="finished", began=0.0)
    api.upkeep.state = ClusterState.model_validate_json(api.upkeep.state.model_dump_json().replace(" <b>", ""))
    api.upkeep.users = [user.model_copy(update={"name": user.name.removesuffix(" <b>")}) for user in api.upkeep.users]
    for kind, name in WATCHED.items():
        api.watch_lists.gallery(kind).add_contents(name, [(".png", b"")] * 2)
    return api


def _harmless(file: File) -> File:
    line = {"text": "the last container is on deck"}
    changed = [found.model_copy(update=line if found.text == HOSTILE_LINE else {}) for found in file.detections]
    if file.name in NAMED:
        name = {"label": WATCHED["people"]}
        changed = [found.model_copy(update=name if found.detector == "face" else {}) for found in changed]
    return file.model_copy(update={"detections": changed})


def drawn(page: Page, place: Place) -> None:
    """Wait until a page is there, with its pictures, and stays as it is."""
    page.locator(place.shows).first.wait_for()
    for _ in range(2):  # a page may run once more as soon as it is drawn
        settled(page)
        page.wait_for_function(_DRAWN)
        page.wait_for_timeout(150)
