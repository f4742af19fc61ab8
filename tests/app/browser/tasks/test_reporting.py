"""The task of somebody who hands on what was found as a report, with the real API, as the fake one makes none."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pypdfium2
import pytest
from playwright.sync_api import expect

from cluster.access.credential import own_key
from cluster.settings import Settings
from tests.app.browser.tasks.conftest import At
from tests.support.fakes.media import draw_picture
from tests.support.servers.real_api import api_process
from tests.support.stored import commit, found, row

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]
FILES = 24


@pytest.fixture
def case_api(tmp_path: Path, api_port: int) -> Iterator[str]:
    """The real API with the results of FILES files on disk; yields a key to it."""
    rows = []
    for n in range(FILES):
        path = tmp_path / f"evidence_{n:02}.jpg"
        path.write_bytes(draw_picture(f"{n:032x}", 64, 48, path.name, 64))
        status, sha256 = path.stat(), hashlib.sha256(path.read_bytes()).hexdigest()
        known = {"etag": f"{status.st_size}-{status.st_mtime_ns}", "sha256": sha256, "thumbnail": path.read_bytes()}
        new = row(path.as_uri(), found("face", "face", 0.9), unit=n, minutes=-n, width=64, height=48, **known)
        rows.append(new | {"size": status.st_size})
    commit(tmp_path / "results", "a.parquet", *rows)
    with api_process(tmp_path / "state", tmp_path / "results", api_port):
        yield str(own_key(Settings(state_dir=tmp_path / "state")))


def test_make_a_report_of_twenty_files(at: At, case_api: str, tmp_path: Path):
    hands = at("/", session=case_api)
    page = hands.page
    hands.click(page.locator(".tile .pick").first)
    hands.click(page.locator(".tile .pick").nth(19), shift=True)
    expect(page.get_by_text("20 selected")).to_be_visible()
    hands.click(page.get_by_role("button", name="Export"))
    with page.expect_download() as downloading:
        hands.click(page.get_by_role("link", name="Report, PDF"))
    downloading.value.save_as(tmp_path / "report.pdf")
    text = "".join(sheet.get_textpage().get_text_range() for sheet in pypdfium2.PdfDocument(tmp_path / "report.pdf"))
    names = [f"evidence_{n:02}.jpg" for n in range(FILES)]
    assert [name for name in names if name in text] == names[:20]
