"""docs/formats.md says what the code does: suffixes, limits, settings."""

import re

from cluster.settings import Decoding
from cluster.storage.listing import KINDS
from deployments.detectors import barcode, face, logo, ocr
from pipelines.archives import pdfs
from pipelines.archives.limits import Limits
from pipelines.media import formats, stills
from pipelines.media.ends import behind
from pipelines.media.films import captions, choosing
from pipelines.media.inner import others
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "formats.md").read_text()


def test_the_page_lists_the_suffixes_that_tell_a_kind():
    rows = re.findall(r"^\| (image|video|audio) \| (.*) \|$", PAGE, re.MULTILINE)
    assert {f".{suffix}": kind for kind, cells in rows for suffix in re.findall(r"`(\w+)`", cells)} == KINDS


def test_the_page_has_the_limits_of_the_code():
    limits = Limits()
    said = " ".join(PAGE.split())
    assert f"one read of {formats.HEAD_BYTES >> 10} KB each" in said
    assert f"depth {limits.depth}, {limits.members:,} members, {limits.total_bytes:,} bytes unpacked" in said
    assert (
        f"{limits.ratio} bytes for each stored byte beyond {limits.free_bytes:,}; {limits.pages} pages of a PDF" in said
    )
    assert f"further pictures of a HEIC: up to {stills.MAX_PAGES};" in said
    assert f"at most {stills.MAX_TILES}, if it is shrunk more than {stills.SHRUNK} times" in said
    assert choosing.BETWEEN == 2 and "up to two between them" in said
    assert others.MOST == stills.MAX_PAGES
    assert f"pictures and films are looked at, up to {behind.MOST}" in said
    assert f"up to {captions.MOST:,} a track" in said
    pages = f"at {pdfs.DPI} dots an inch up to {limits.page_px} px, a longer page at {pdfs.LEAST_DPI}"
    assert f"{pages} up to {pdfs.MOST_PIXELS // 1_000_000} megapixels" in said


def test_the_settings_on_the_page_exist():
    assert set(re.findall(r"`decoding\.(\w+)`", PAGE)) <= set(Decoding.model_fields)


def test_the_detectors_that_get_tiles_are_those_of_the_page():
    assert all(kind.detail for kind in (barcode.Barcode, ocr.Ocr, face.Face, logo.Logo))
    assert "barcode, ocr, face and logo also get tiles" in PAGE
