"""DOC, XLS, PPT and messages in messages of Outlook: nothing in them is left out in silence."""

import io
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import pytest
from compressed_rtf import compress
from PIL import Image

from pipelines.archives.microsoft.outlook import NO_FILE, OutlookFolders
from pipelines.archives.microsoft.pictures import pictures
from tests.pipelines.archives.scans import labels, png, reasons, scan
from tests.pipelines.archives.test_documents import file_texts
from tests.support.files.ole import Tree, blip, compound, dropped, message, slide_show, word_document, work_book


def opened(path: Path, tree: Tree):
    path.write_bytes(compound(tree))
    with scan() as scanning:
        return scanning.found(path)


def jpeg(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(file, "JPEG")
    return file.getvalue()


BOTH = blip(0x1E, png("red")) + b"between" + blip(0x1D, jpeg("blue"))


@pytest.mark.parametrize(
    ("name", "tree", "texts"),
    [
        (
            "a.doc",
            word_document("The cargo\rleaves ", "heute für Kraków", " \x13 PAGE \x147\x15.", pictures=BOTH),
            [("The cargo\nleaves heute für Kraków 7.", "document")],
        ),
        ("a.ppt", slide_show("First slide", "Żegluga", pictures=BOTH), [("First slide\nŻegluga", "slides")]),
        ("a.xls", work_book("pier", "Łódź", pictures=BOTH), [("pier\nŁódź\n42.5", "sheet Cargo")]),
    ],
)
def test_the_text_and_the_pictures_of_an_old_office_document_are_found(tmp_path, name, tree, texts):
    found = opened(tmp_path / name, tree)
    assert list(found) == ["", "picture-1.png", "picture-2.jpg"]
    assert "red" in labels(found["picture-1.png"]) and "blue" in labels(found["picture-2.jpg"])
    assert file_texts(found[""]) == texts and not found[""].failures


def test_a_large_picture_of_a_workbook_is_put_together_from_its_records(tmp_path):
    noise = Image.effect_noise((200, 200), 90).convert("RGB")
    file = io.BytesIO()
    noise.save(file, "PNG")
    assert len(file.getvalue()) > 30_000
    found = opened(tmp_path / "a.xls", work_book("x", pictures=blip(0x1E, file.getvalue())))
    assert not found["picture-1.png"].failures and found["picture-1.png"].width == 200


@pytest.mark.parametrize(
    "tree",
    [word_document("x", encrypted=True), work_book("x", password=True), slide_show("x") | {"EncryptedSummary": b"x"}],
)
def test_an_encrypted_document_says_so(tmp_path, tree):
    found = opened(tmp_path / "a.doc", tree)
    assert list(found) == [""] and "encrypted" in reasons(found[""])


def test_files_that_were_dropped_into_a_document_are_members(tmp_path):
    found = opened(tmp_path / "a.doc", word_document("see") | dropped("pier.png", png("blue")))
    assert list(found) == ["", "pier.png"] and "blue" in labels(found["pier.png"])


def test_drawings_that_are_not_read_stand_in_the_row(tmp_path):
    metafile = bytes(12) + (40).to_bytes(4, "little") + bytes(2) + bytes(40)
    emf = blip(0x1A, bytes(27) + (40).to_bytes(4, "little") + bytes(2) + bytes(40), 0x3D4)
    assert [one.content for one in pictures(emf)] == [None] and list(pictures(metafile)) == []
    found = opened(tmp_path / "a.ppt", slide_show("x", pictures=emf))
    assert "picture-1.emf in it was not looked at: it is a drawing" in reasons(found[""])


@pytest.mark.parametrize("tree", [{"WordDocument": bytes(30)}, {"Workbook": b"\x09\x08\xff\xff"}, {"Pictures": b"x"}])
def test_a_broken_or_unknown_ole_file_has_a_reason_or_no_text(tmp_path, tree):
    found = opened(tmp_path / "a.doc", tree)
    assert list(found) == [""] and (found[""].failures or "WordDocument" in tree)


def test_a_message_in_a_message_is_read_with_what_is_attached_to_it(tmp_path):
    innermost = message("deepest", "At the gate.", {"c.png": png("blue")}, header=24)
    inner = message("the cargo", "It leaves tonight.", {"b.png": png("red"), "fwd": innermost}, header=24)
    found = opened(tmp_path / "a.msg", message("outer", "See below.", {"a.txt": b"hello", "fwd": inner}))
    assert list(found) == ["", "the cargo/b.png", "the cargo/deepest/c.png"] and not found[""].failures
    assert "red" in labels(found["the cargo/b.png"]) and "blue" in labels(found["the cargo/deepest/c.png"])
    assert file_texts(found[""]) == [
        ("Subject: outer", "head"),
        ("See below.", "body"),
        ("Subject: the cargo", "the cargo, head"),
        ("It leaves tonight.", "the cargo, body"),
        ("Subject: deepest", "the cargo/deepest, head"),
        ("At the gate.", "the cargo/deepest, body"),
    ]


def test_an_object_of_another_program_in_a_message_stands_in_the_row(tmp_path):
    found = opened(tmp_path / "a.msg", message("x", "y", {"chart": {"Workbook": b"x"}}))
    assert f"chart in it was not looked at: {NO_FILE}" in reasons(found[""])


def test_a_body_that_is_only_there_as_compressed_rtf_is_read(tmp_path):
    found = opened(tmp_path / "a.msg", message("x", rtf=compress(rb"{\rtf1\ansi Meet at the \b harbour\b0 .}")))
    assert ("Meet at the harbour.", "body") in file_texts(found[""])


def pst(message: SimpleNamespace) -> OutlookFolders:
    folder = SimpleNamespace(
        name="Inbox", number_of_sub_messages=1, number_of_sub_folders=0, get_sub_message=lambda n: message
    )
    return OutlookFolders(Path("x.pst"), lambda: None, SimpleNamespace(get_root_folder=lambda: folder))


def in_pst(subject: str, *attachments: SimpleNamespace, rtf: bytes | None = None) -> SimpleNamespace:
    return SimpleNamespace(
        number_of_attachments=len(attachments), get_attachment=lambda n: attachments[n], sender_name="ann",
        subject=subject, plain_text_body=None, html_body=None, rtf_body=rtf,
    )  # fmt: skip


def test_a_message_in_a_message_of_a_pst_is_read_too():
    file = io.BytesIO(png())
    picture = SimpleNamespace(
        long_filename="pier.png", size=len(png()), number_of_sub_items=0, read_buffer=file.read,
        seek_offset=file.seek,
    )  # fmt: skip
    inner = in_pst("inner", picture, rtf=rb"{\rtf1 tonight}")
    held = SimpleNamespace(long_filename=None, number_of_sub_items=1, get_sub_item=lambda n: inner)
    reader = pst(in_pst("outer", held))
    (entry,) = reader.entries()
    assert (entry.name, reader.open(entry).read()) == ("Inbox/1/1/pier.png", png())
    assert [(text.origin, text.text.splitlines()[-1]) for text in reader.texts()] == [
        ("Inbox/1, head", "Subject: outer"),
        ("Inbox/1/1, head", "Subject: inner"),
        ("Inbox/1/1, body", "tonight"),
    ]


def test_a_file_that_was_dropped_into_a_new_document_is_found(tmp_path):
    tree = dropped("pier.png", png("blue"))["ObjectPool"]["_1"]
    with ZipFile(tmp_path / "a.docx", "w") as document:
        document.writestr("[Content_Types].xml", "<Types/>")
        document.writestr("word/embeddings/oleObject1.bin", compound(tree))
    with scan() as scanning:
        found = scanning.found(tmp_path / "a.docx")
    assert "blue" in labels(found["word/embeddings/oleObject1.bin!pier.png"])
