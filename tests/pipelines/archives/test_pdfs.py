"""What lies in a PDF besides its pages' pictures and text layer: notes, forms, attached files, text as outlines."""

import io
from pathlib import Path

from PIL import Image

from tests.pipelines.archives.scans import labels, png, reasons, scan
from tests.pipelines.archives.test_documents import file_texts


def pdf(path: Path, objects: dict[int, bytes], before: bytes = b"") -> Path:
    """A PDF of these objects; 1 is its catalog."""
    content, places = before + b"%PDF-1.7\n", {}
    for n, body in sorted(objects.items()):
        places[n] = len(content) - len(before)
        content += b"%d 0 obj\n%s\nendobj\n" % (n, body)
    at = len(content) - len(before)
    table = b"".join(b"%010d 00000 n \n" % places[n] if n in places else b"0000000000 65535 f \n"
                     for n in range(max(objects) + 1))  # fmt: skip
    content += b"xref\n0 %d\n%strailer\n<< /Root 1 0 R /Size %d >>\nstartxref\n%d\n%%%%EOF\n" % (
        max(objects) + 1,
        table,
        max(objects) + 1,
        at,
    )
    path.write_bytes(content)
    return path


def stream(content: bytes, entries: bytes = b"") -> bytes:
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(content), entries, content)


def document(drawing: bytes, page: bytes = b"", catalog: bytes = b"", size: bytes = b"200 300") -> dict[int, bytes]:
    """One page with a text and a drawing; objects from 10 on are free."""
    return {
        1: b"<< /Type /Catalog /Pages 2 0 R %s >>" % catalog,
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %s] /Contents 4 0 R %s"
        b" /Resources << /Font << /F 5 0 R >> >> >>" % (size, page),
        4: stream(drawing),
        5: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    }


WORDS = b"BT /F 12 Tf 20 20 Td (page one) Tj ET\n"


def test_a_page_whose_letters_are_outlines_is_drawn_although_it_has_some_text(tmp_path):
    outlines = b"".join(b"%d 100 m %d 110 %d 120 %d 130 c S\n" % (x, x, x + 5, x + 9) for x in range(10, 190, 4))
    with scan() as scanning:
        assert set(scanning.found(pdf(tmp_path / "a.pdf", document(WORDS + outlines)))) == {"", "page-1.png"}
        table = b"".join(b"10 %d 180 12 re S\n" % y for y in range(50, 290, 12))
        assert set(scanning.found(pdf(tmp_path / "b.pdf", document(WORDS + table)))) == {""}


def test_notes_and_what_was_filled_into_forms_are_findings_and_are_drawn(tmp_path):
    objects = document(WORDS, b"/Annots [10 0 R 11 0 R 12 0 R]", b"/AcroForm << /Fields [11 0 R] /DR << >> >>")
    objects[10] = b"<< /Type /Annot /Subtype /Text /Rect [0 0 9 9] /Contents (under the bridge) >>"
    objects[11] = (
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /V (SAFFRON) /DA (/F 12 Tf) /Rect [9 99 99 120] >>"
    )
    objects[12] = b"<< /Type /Annot /Subtype /Stamp /Rect [0 0 200 300] /AP << /N 13 0 R >> >>"
    objects[13] = stream(
        b"1 0 0 rg 0 0 200 300 re f", b"/Type /XObject /Subtype /Form /BBox [0 0 200 300] /Resources << >>"
    )
    with scan() as scanning:
        found = scanning.found(pdf(tmp_path / "a.pdf", objects))
    assert set(found) == {"", "page-1.png"} and "red" in labels(found["page-1.png"])
    assert file_texts(found[""])[1:] == [("SAFFRON", "form, page 1"), ("under the bridge", "note, page 1")]


def test_files_that_are_attached_to_a_place_on_a_page_are_members(tmp_path):
    objects = document(WORDS, b"/Annots [10 0 R 13 0 R]")
    objects[10] = b"<< /Type /Annot /Subtype /FileAttachment /Rect [0 0 9 9] /FS 11 0 R >>"
    objects[11] = b"<< /Type /Filespec /F (pier.png) /UF (pier.png) /EF << /F 12 0 R >> >>"
    objects[12] = stream(png("blue"), b"/Type /EmbeddedFile")
    objects[13] = b"<< /Type /Annot /Subtype /RichMedia /Rect [0 0 99 99] >>"
    with scan() as scanning:
        found = scanning.found(pdf(tmp_path / "a.pdf", objects))
    assert "blue" in labels(found["attachments/pier.png"])
    assert "films, sounds or models on page 1 were not looked at" in reasons(found[""])


def test_an_attached_file_without_bytes_does_not_hide_the_pages(tmp_path):
    names = b"/Names << /EmbeddedFiles << /Names [(a) 11 0 R] >> >>"
    objects = document(b"0 0 99 99 re f", catalog=names)
    objects[11] = b"<< /Type /Filespec /F (a.png) /UF (a.png) /EF << /F 12 0 R >> >>"
    objects[12] = stream(b"", b"/Type /EmbeddedFile")
    with scan() as scanning:
        found = scanning.found(pdf(tmp_path / "a.pdf", objects))
    assert set(found) == {"", "page-1.png"} and "attachments/a.png" in reasons(found[""])


def test_a_page_that_is_as_long_as_a_screenshot_is_drawn_large_enough_to_read(tmp_path):
    with scan() as scanning:
        path = pdf(tmp_path / "a.pdf", document(b"0 0 99 99 re f", size=b"1080 12000"))
        page = scanning.found(path)["page-1.png"]
    assert (page.width, page.height) == (1500, 16667)


def test_a_pdf_after_other_bytes_is_told(tmp_path):
    path = pdf(tmp_path / "a.pdf", document(b"0 0 99 99 re f"), before=b"\x1b%-12345X@PJL SET COPIES=1\r\n")
    with scan() as scanning:
        assert set(scanning.found(path)) == {"", "page-1.png"}


def test_a_turned_page_is_drawn_upright(tmp_path):
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(picture, "JPEG")
    objects = document(b"q 200 0 0 300 0 0 cm /P Do Q", b"/Rotate 90")
    objects[3] = objects[3].replace(b"/Font", b"/XObject << /P 10 0 R >> /Font")
    entries = b"/Type /XObject /Subtype /Image /Width 8 /Height 8 /ColorSpace /DeviceRGB /BitsPerComponent 8"
    objects[10] = stream(picture.getvalue(), entries + b" /Filter /DCTDecode")
    with scan() as scanning:
        page = scanning.found(pdf(tmp_path / "a.pdf", objects))["page-1.png"]
    assert (page.width, page.height) == (834, 556) and "red" in labels(page)
