"""Reports as HTML and PDF: scripts, long names, parts, and what is not seen."""

import io
import re

import pypdfium2
import pytest
from PIL import Image

from deployments.reports import pdf
from deployments.reports.content import DetectorFindings, Entry, Head, Tail, visible
from deployments.reports.formats import FORMATS

HEAD = Head("A case", "2026-11-30 08:00:00 UTC", (("Case", "a"),), (), (("In all", "3 files"),), (), (), ())
LONG = "x" * 300


def jpeg(width: int, height: int) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(sink, "JPEG")
    return sink.getvalue()


def entry(number: int, name: str, text: str = "", picture: bytes | None = None) -> Entry:
    found = DetectorFindings("ocr", "RapidOCR", (("text", "0.90", "", text),)) if text else None
    facts = (("Address", f"s3://b/{name}"), ("SHA-256", f"{number:064}"))
    return Entry(number, name, facts, "it is the same", True, (found,) if found else (), (), "", (), picture)


def written(format: str, *entries: Entry) -> bytes:
    to = io.BytesIO()
    with FORMATS[format].writer(to) as writer:  # type: ignore[index]
        writer.begin(HEAD)
        for one in entries:
            writer.add([one])
        writer.end(Tail(len(entries), (), (), (), (("Lines", "0"),), ()))
    return to.getvalue()


def sheets(content: bytes) -> list[str]:
    """The text of each page, without white space."""
    return [re.sub(r"\s+", "", page.get_textpage().get_text_range()) for page in pypdfium2.PdfDocument(content)]


def test_the_pdf_shows_many_scripts_and_what_no_font_has_as_codes():
    russian, greek, rare = "Доказательство", "Απόδειξη", "\U00016f00"  # few machines have a font with it
    text = "".join(sheets(written("pdf", entry(1, f"{russian}.jpg", f"{greek} {rare}"))))
    assert russian in text and greek in text and (rare in text or "\\U00016f00" in text)


def test_arabic_is_shaped_and_can_be_copied():
    text = "".join(sheets(written("pdf", entry(1, "a.jpg", "ملف"))))
    assert "ملف" in text or "ملف"[::-1] in text  # PDFium gives signs as they are seen, from the left


def test_signs_that_fonts_have_only_one_by_one_do_not_stop_a_report():
    stacked = "e" + "".join(chr(0x300 + n) for n in range(60)) + "\u0e33\u0483\u20dd"
    assert "a.jpg" in "".join(sheets(written("pdf", entry(1, "a.jpg", stacked))))


@pytest.mark.parametrize("name", [LONG, "ж" * 300, "a/" * 150])
def test_a_long_name_stays_on_its_page_and_is_copied_whole(name: str):
    document = pypdfium2.PdfDocument(written("pdf", entry(1, f"{name}.jpg")))
    text = document[0].get_textpage()
    right = max(text.get_charbox(n)[2] for n in range(text.count_chars()))
    assert right <= document[0].get_width() - 18 / 25.4 * 72 + 1
    assert f"{name}.jpg" in re.sub(r"\s+", "", text.get_text_range())


def test_pictures_of_any_shape_fit_on_a_page():
    entries = [entry(n, f"{n}.jpg", picture=jpeg(*size)) for n, size in enumerate([(320, 10), (10, 320), (1, 1)])]
    assert len(sheets(written("pdf", *entries))) <= 2


def test_a_pdf_in_parts_has_all_files_in_order_on_numbered_pages(monkeypatch):
    monkeypatch.setattr(pdf, "PART", 2)
    pages = sheets(written("pdf", *(entry(n, f"file-{n}.jpg") for n in range(1, 6))))
    assert re.findall(r"\d\.(file-\d)\.jpg", "".join(pages)) == [f"file-{n}" for n in range(1, 6)]
    assert [page[-1] for page in pages] == [str(n) for n in range(1, len(pages) + 1)]
    assert f"whichhas{len(pages)}pages" in pages[-1]


def test_nothing_that_reorders_or_hides_text_is_left_in_it():
    hidden = "a\u202eb\u200bc\x00d\ue000e\U000e0041f\nng"
    shown = "a\\u202eb\\u200bc\\u0000d\\ue000e\\U000e0041f\nng"
    assert visible(hidden) == shown and visible("ملف\u200dé 证 😀") == "ملف\u200dé 证 😀"
    page = written("html", entry(1, hidden)).decode()
    assert shown in page and not set(hidden) & set("\u202e\u200b\x00\ue000") & set(page)


def test_the_html_of_many_files_is_written_part_by_part():
    class Counting(io.BytesIO):
        largest = 0

        def write(self, data) -> int:
            self.largest = max(self.largest, len(data))
            return super().write(data)

    to = Counting()
    with FORMATS["html"].writer(to) as writer:
        writer.begin(HEAD)
        for number in range(1, 200):
            writer.add([entry(number, f"{number}.jpg")])
        writer.end(Tail(199, (), (), (), (), ()))
    assert to.largest < 10_000 < len(to.getvalue()) and to.getvalue().count(b"<article") == 199
