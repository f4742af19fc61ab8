"""Mail: attachments are members, head and body are findings."""

import base64
import binascii
import io
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.archives.formats import container_format
from pipelines.archives.microsoft.outlook import OutlookFolders
from tests.pipelines.archives.scans import contents, labels, png, reasons, scan
from tests.pipelines.archives.test_documents import file_texts


def mail(subject: str = "the cargo", picture: bytes | None = None, name: str = "pier.png") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "ann@example.org", "bob@example.org", subject
    message.set_content("It leaves from the northern pier.")
    message.add_alternative("<style>p {}</style><p>It leaves<br>tonight &amp; alone", subtype="html")
    if picture is not None:
        message.add_attachment(picture, "image", "png", filename=name)
    return message


def test_attachments_of_a_mail_are_members_and_its_words_are_findings(tmp_path):
    path = tmp_path / "mail.eml"
    message = mail("Güterzug", png(), "Anhänge.png")
    message.add_attachment("a,b", subtype="csv", filename="a.csv")
    path.write_bytes(message.as_bytes())
    with scan() as scanning:
        found = scanning.found(path)
    assert list(found) == ["", "Anhänge.png"] and "red" in labels(found["Anhänge.png"])
    assert contents(found[""]) == "1 image, 1 .csv (no media)" and not found[""].failures
    assert file_texts(found[""]) == [
        ("From: ann@example.org\nTo: bob@example.org\nSubject: Güterzug", "head"),
        ("It leaves from the northern pier.", "body"),
        ("It leaves\ntonight & alone", "body"),
    ]


def test_pictures_of_a_forwarded_mail_are_members_too(tmp_path):
    outer = mail("fwd")
    outer.add_attachment(mail("inner", png("blue"), "deep.png"))
    (tmp_path / "a.eml").write_bytes(outer.as_bytes())
    with scan() as scanning:
        found = scanning.found(tmp_path / "a.eml")
    assert "blue" in labels(found["deep.png"])
    assert any("Subject: inner" in text for text, _ in file_texts(found[""]))


def test_the_mails_of_an_mbox_are_numbered(tmp_path):
    messages = [mail(f"number {n}", png("red" if n == 1 else "blue")) for n in (1, 2)]
    content = b"".join(b"From a@b Mon Jan  1 10:00:00 2024\n" + one.as_bytes() + b"\n\n" for one in messages)
    (tmp_path / "inbox.mbox").write_bytes(content)
    with scan() as scanning:
        found = scanning.found(tmp_path / "inbox.mbox")
    assert list(found) == ["", "1/pier.png", "2/pier.png"]
    assert "red" in labels(found["1/pier.png"]) and "blue" in labels(found["2/pier.png"])
    assert ("From: ann@example.org\nTo: bob@example.org\nSubject: number 2", "message 2, head") in file_texts(found[""])


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"Received: from x\r\n by y\r\nFrom: a@b\r\n", "eml"),
        (b"X-Mailer: z\nSubject: hello\n\nbody", "eml"),
        (b"DKIM-Signature: v=1;\n b=" + b"x" * 5000 + b"\nFrom: a@b\n", "eml"),
        (b"512   \nFrom: a@b\nSubject: hello\n\nbody", "emlx"),
        (b"512\nbottles\n", None),
        (b"From a@b.c Mon Jan  1 10:00:00 2024\nSubject: x\n", "mbox"),
        (b"From here on: this is a letter\n", None),
        (b"name: value\nother: value\n", None),
        (b"Dear Ann,\nSubject: hello\n", None),
        (b"!BDN\x12\x34", "pst"),
        (b"", None),
    ],
)
def test_mail_is_told_by_its_first_bytes(head, name):
    assert container_format(head) == name


def test_a_mail_with_broken_parts_is_read_as_far_as_it_goes(tmp_path):
    broken = (
        b'Subject: =?utf-8?b?broken\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="x"\n\n--x\n'
        b"Content-Type: text/plain; charset=nonsense\n\nwords\n--x\nContent-Type: image/png\n"
        b"Content-Transfer-Encoding: base64\nContent-Disposition: attachment; filename*=utf-8''%FF\n\n!!!\n"
    )
    (tmp_path / "a.eml").write_bytes(broken)
    with scan() as scanning:
        found = scanning.found(tmp_path / "a.eml")
    assert ("words", "body") in file_texts(found[""]) and len(found) == 1


# PST: there is no library that writes such files, so the objects of the reading library are replaced


def attachment(name: str, content: bytes | None) -> SimpleNamespace:
    file = io.BytesIO(content or b"")
    return SimpleNamespace(
        long_filename=name, size=len(content or b""), seek_offset=file.seek, read_buffer=file.read,
        number_of_sub_items=0,
    )  # fmt: skip


class Folder:
    """A folder of a PST file, as pypff has it."""

    def __init__(self, name: str, messages: list[SimpleNamespace], folders: list["Folder"]) -> None:
        self.name, self._messages, self._folders = name, messages, folders
        self.number_of_sub_messages, self.number_of_sub_folders = len(messages), len(folders)

    def get_sub_message(self, n: int) -> SimpleNamespace:
        return self._messages[n]

    def get_sub_folder(self, n: int) -> "Folder":
        return self._folders[n]


def test_attachments_and_words_of_an_outlook_folder_are_read_with_the_path_of_their_message():
    one = attachment("pier.png", png())
    message = SimpleNamespace(
        number_of_attachments=1, get_attachment=lambda n: one, sender_name="ann", subject="cargo",
        plain_text_body=b"tonight", html_body=None,
    )  # fmt: skip
    root = Folder("", [], [Folder("Inbox", [SimpleNamespace(number_of_attachments=0), message], [])])
    reader = OutlookFolders(Path("x.pst"), lambda: None, SimpleNamespace(get_root_folder=lambda: root))
    (entry,) = reader.entries()
    assert (entry.name, reader.open(entry).read()) == ("Inbox/2/pier.png", png())
    assert [text.origin for text in reader.texts()] == ["Inbox/2, head", "Inbox/2, body"]


def test_a_broken_pst_is_a_reason(tmp_path):
    (tmp_path / "a.pst").write_bytes(b"!BDN" + bytes(2000))
    with scan() as scanning:
        found = scanning.found(tmp_path / "a.pst")
    assert list(found) == [""] and "damaged" in reasons(found[""])


def test_pictures_that_are_written_into_the_words_of_a_mail_are_members(tmp_path):
    message = EmailMessage()
    message["Subject"] = "pictures"
    lines = [png("blue")[at : at + 45] for at in range(0, len(png("blue")), 45)]
    coded = "".join(binascii.b2a_uu(line).decode() for line in lines)
    message.set_content(f"See this:\n\nbegin 644 the pier.png\n{coded}`\nend\n\nbegin 2024 well\n")
    uri = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    message.add_alternative(f'<p>See <img src="{uri}"></p>', subtype="html")
    (tmp_path / "a.eml").write_bytes(message.as_bytes())
    with scan() as scanning:
        found = scanning.found(tmp_path / "a.eml")
    assert list(found) == ["", "the pier.png", "part-2-1.png"] and not found[""].failures
    assert "blue" in labels(found["the pier.png"]) and "red" in labels(found["part-2-1.png"])


def test_a_mail_of_apple_mail_is_read_without_what_lies_around_it(tmp_path):
    content = mail("the cargo", png()).as_bytes()
    (tmp_path / "1.emlx").write_bytes(b"%d      \n" % len(content) + content + b"<?xml version='1.0'?><plist/>")
    with scan() as scanning:
        found = scanning.found(tmp_path / "1.emlx")
    assert "red" in labels(found["pier.png"]) and not any("plist" in text for text, _ in file_texts(found[""]))


def test_what_first_follows_long_headers_is_a_mail_too(tmp_path):
    content = b"".join(b"X-Header-%d: %s\n" % (n, b"x" * 70) for n in range(30)) + mail("x", png()).as_bytes()
    (tmp_path / "a.eml").write_bytes(content)
    with scan() as scanning:
        assert "red" in labels(scanning.found(tmp_path / "a.eml")["pier.png"])


def test_a_message_that_cannot_be_read_within_a_mail_stands_in_its_row(tmp_path):
    signed = bytes.fromhex("308006092a864886f70d010702a080") + bytes(40)
    message = EmailMessage()
    message["Subject"] = "signed"
    message.set_content(signed, maintype="application", subtype="pkcs7-mime", filename="smime.p7m")
    (tmp_path / "a.eml").write_bytes(message.as_bytes())
    with scan() as scanning:
        found = scanning.found(tmp_path / "a.eml")
    assert "smime.p7m in it was not looked at: it is a signed message" in reasons(found[""])


def test_parts_in_thousands_of_parts_are_a_reason(tmp_path):
    content = b"Subject: deep\n" + b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(3000)
    )
    (tmp_path / "a.eml").write_bytes(content)
    with scan() as scanning:
        found = scanning.found(tmp_path / "a.eml")
    assert list(found) == [""] and "decode: " in reasons(found[""])


def test_messages_of_an_mbox_without_empty_lines_between_them_are_told_apart(tmp_path):
    begin = b"From a@b Mon Jan  1 10:00:00 2024\n"
    content = begin + mail("one", png()).as_bytes() + begin + mail("two", png("blue")).as_bytes()
    (tmp_path / "a.mbox").write_bytes(content + b"\nFrom here on the road is closed.\n")
    with scan() as scanning:
        found = scanning.found(tmp_path / "a.mbox")
    assert list(found) == ["", "1/pier.png", "2/pier.png"] and "blue" in labels(found["2/pier.png"])


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\r\n"])
def test_a_mail_after_a_mark_or_an_empty_line_is_read(tmp_path, before):
    (tmp_path / "a.eml").write_bytes(before + mail("x", png()).as_bytes())
    with scan() as scanning:
        assert "red" in labels(scanning.found(tmp_path / "a.eml")["pier.png"])
