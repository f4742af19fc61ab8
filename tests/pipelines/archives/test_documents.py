"""PDF and office documents: their pictures are members, their text is a finding."""

import io
from pathlib import Path
from zipfile import ZipFile

import pypdfium2
import pytest
from PIL import Image, ImageDraw

from cluster.records import Result
from pipelines.archives.limits import Limits
from tests.pipelines.archives.scans import labels, png, reasons, scan

NS = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def file_texts(result: Result) -> list[tuple[str, str | None]]:
    found = [one.detection for one in result.findings if one.detector == "file-text" and one.detection.text]
    return [(detection.text, detection.evidence) for detection in found]


def pdf(path: Path, *pages: str, attached: bytes | None = None) -> Path:
    """Pages: "picture" has one, "text" has text, "both", "empty"."""
    document = pypdfium2.PdfDocument.new()
    for content in pages:
        page = document.new_page(200, 300)
        if content in ("picture", "both"):
            jpeg = io.BytesIO()
            Image.new("RGB", (64, 48), "red").save(jpeg, "JPEG")
            picture = pypdfium2.PdfImage.new(document)
            picture.load_jpeg(jpeg)
            picture.set_matrix(pypdfium2.PdfMatrix().scale(200, 300))
            page.insert_obj(picture)
        if content in ("text", "both"):
            raw = pypdfium2.raw
            text = raw.FPDFPageObj_NewTextObj(document, b"Helvetica", 12.0)
            raw.FPDFText_SetText(text, (raw.FPDF_WCHAR * 9)(*b"CINNAMON", 0))
            raw.FPDFPageObj_Transform(text, 1, 0, 0, 1, 20, 20)
            raw.FPDFPage_InsertObject(page, text)
        page.gen_content()
    if attached is not None:
        document.new_attachment("in it.png").set_data(attached)
    document.save(str(path))
    return path


def test_pages_with_pictures_are_members_and_the_text_layer_is_a_finding(tmp_path):
    path = pdf(tmp_path / "scan.pdf", "picture", "text", "empty", "both", attached=png("blue"))
    with scan() as scanning:
        found = scanning.found(path)
    assert set(found) == {"", "page-1.png", "page-4.png", "attachments/in it.png"}
    page = found["page-1.png"]
    assert "red" in labels(page) and page.item.kind == "image" and page.item.parent == path.as_uri()
    assert (page.width, page.height) == (556, 834)  # 200 x 300 points at 200 dpi
    assert "blue" in labels(found["attachments/in it.png"])
    assert file_texts(found[""]) == [("CINNAMON", "text layer, page 2"), ("CINNAMON", "text layer, page 4")]
    assert not found[""].failures


def test_pages_after_the_limit_are_a_reason(tmp_path):
    with scan(Limits(pages=2)) as scanning:
        found = scanning.found(pdf(tmp_path / "long.pdf", "picture", "picture", "picture"))
    assert list(found) == ["", "page-1.png", "page-2.png"]
    assert "it has 3 pages, of which only the first 2 were looked at" in reasons(found[""])


def test_a_broken_pdf_is_a_reason(tmp_path):
    path = pdf(tmp_path / "broken.pdf", "picture")
    path.write_bytes(path.read_bytes()[:40])
    with scan() as scanning:
        found = scanning.found(path)
    assert list(found) == [""] and reasons(found[""]).startswith("decode: it is damaged")


DOCUMENTS = {
    "a.docx": ("word/document.xml", f"<w:document {NS}><w:p><w:r><w:t>saf</w:t></w:r><w:r><w:t>fron</w:t></w:r></w:p>"
               "<w:p/></w:document>", "word/media/image1.png"),
    "a.xlsx": ("xl/sharedStrings.xml", "<sst><si><t>saffron</t></si></sst>", "xl/media/image1.png"),
    "a.pptx": ("ppt/slides/slide1.xml", "<sld><p><t>saffron</t></p></sld>", "ppt/media/image1.png"),
    "a.odt": ("content.xml", "<doc><h>saf<span>fron</span></h></doc>", "Pictures/1.png"),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_pictures_and_text_of_office_documents_are_found(tmp_path, name):
    part, xml, picture = DOCUMENTS[name]
    with ZipFile(tmp_path / name, "w") as document:
        if name.endswith("odt"):
            document.writestr("mimetype", "application/vnd.oasis.opendocument.text")
            document.writestr("META-INF/manifest.xml", "<manifest/>")
        else:
            document.writestr("[Content_Types].xml", "<Types/>")
        document.writestr(part, xml)
        document.writestr(picture, png())
    with scan() as scanning:
        found = scanning.found(tmp_path / name)
    assert list(found) == ["", picture] and "red" in labels(found[picture])
    assert file_texts(found[""]) == [("saffron", part)]


def test_entities_that_multiply_do_not_end_the_analysis(tmp_path):
    entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))
    xml = f'<!DOCTYPE d [<!ENTITY e0 "lol">{entities}]><d><p>&e9;</p></d>'
    with ZipFile(tmp_path / "a.docx", "w") as document:
        document.writestr("[Content_Types].xml", "<Types/>")
        document.writestr("word/document.xml", xml)
        document.writestr("word/media/a.png", png())
    with scan() as scanning:
        found = scanning.found(tmp_path / "a.docx")
    assert "red" in labels(found["word/media/a.png"]) and "damaged" in reasons(found[""])


def test_a_long_text_is_kept_in_passages(tmp_path):
    words = "\n".join(f"line {n} of the report" for n in range(300))
    with ZipFile(tmp_path / "a.docx", "w") as document:
        document.writestr("[Content_Types].xml", "<Types/>")
        document.writestr("word/document.xml", "<d>" + "".join(f"<p>{line}</p>" for line in words.split("\n")) + "</d>")
    with scan() as scanning:
        found = file_texts(scanning.found(tmp_path / "a.docx")[""])
    assert "\n".join(text for text, _ in found) == words and all(len(text) <= 2000 for text, _ in found)


def test_a_document_of_old_office_says_that_it_is_not_read(tmp_path):
    (tmp_path / "a.doc").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(3000))
    with scan() as scanning:
        found = scanning.found(tmp_path / "a.doc")
    assert list(found) == [""] and reasons(found[""])


def test_a_picture_of_text_without_a_text_layer_is_drawn_sharp_enough_to_read(tmp_path):
    drawn = Image.new("RGB", (1240, 1754), "white")
    ImageDraw.Draw(drawn).text((100, 100), "CINNAMON", fill="black", font_size=40)
    drawn.save(tmp_path / "scan.pdf", resolution=150)
    with scan() as scanning:
        page = scanning.found(tmp_path / "scan.pdf")["page-1.png"]
    assert (page.width, page.height) == (1414, 2000)


def office(path: Path, parts: dict[str, str | bytes]) -> Path:
    with ZipFile(path, "w") as document:
        document.writestr("[Content_Types].xml", "<Types/>")
        for name, content in parts.items():
            document.writestr(name, content)
    return path


def test_texts_outside_of_the_main_part_of_a_document_are_findings_too(tmp_path):
    sheet = """<worksheet><sheetData><row><c t="s"><v>0</v></c><c><f>A1*2</f><v>4915551234</v></c>
        <c t="inlineStr"><is><t>in place</t></is></c></row><row><c/></row></sheetData></worksheet>"""
    parts: dict[str, str | bytes] = {
        "xl/sharedStrings.xml": "<sst><si><t>shared</t></si></sst>",
        "xl/worksheets/sheet1.xml": sheet,
        "xl/drawings/drawing1.xml": "<d><p><t>in a box</t></p></d>",
        "xl/charts/chart1.xml": "<c><cat><v>north</v></cat></c>",
        "xl/threadedComments/threadedComment1.xml": "<c><text>who?</text></c>",
    }
    with scan() as scanning:
        found = scanning.found(office(tmp_path / "a.xlsx", parts))
    texts = [text for text, _ in file_texts(found[""])]
    assert texts == ["shared", "4915551234\tin place", "in a box", "north", "who?"] and not found[""].failures


def test_parts_of_a_document_that_cannot_be_read_stand_in_its_row_and_the_others_are_read(tmp_path):
    parts: dict[str, str | bytes] = {
        "word/header1.xml": "<h><p>broken",
        "word/document.xml": "<d><p>whole</p></d>",
        "xl/workbook.bin": b"x",
    }
    with scan() as scanning:
        found = scanning.found(office(tmp_path / "a.docx", parts))
    assert file_texts(found[""]) == [("whole", "word/document.xml")]
    assert "word/header1.xml: it is damaged" in reasons(found[""]) and "XLSB" in reasons(found[""])


def test_an_open_document_with_a_password_is_said(tmp_path):
    with ZipFile(tmp_path / "a.odt", "w") as document:
        document.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        document.writestr("META-INF/manifest.xml", "<manifest><encryption-data/></manifest>")
        document.writestr("content.xml", bytes(range(256)))
    with scan() as scanning:
        found = scanning.found(tmp_path / "a.odt")
    assert list(found) == [""] and "it is encrypted" in reasons(found[""])


def test_text_of_a_document_within_an_open_document_is_found(tmp_path):
    with ZipFile(tmp_path / "a.odt", "w") as document:
        document.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        document.writestr("META-INF/manifest.xml", "<manifest/>")
        document.writestr("Object 1/content.xml", "<d><p>saffron</p></d>")
    with scan() as scanning:
        found = scanning.found(tmp_path / "a.odt")
    assert file_texts(found[""]) == [("saffron", "Object 1/content.xml")]
