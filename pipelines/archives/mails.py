"""Mail: EML, a message as it is sent, and MBOX, a file of many."""

import base64
import binascii
import email.policy
import io
import mimetypes
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import suppress
from email.message import EmailMessage
from email.parser import BytesParser
from html.parser import HTMLParser
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from cluster.errors import MediaError
from pipelines.archives.formats import MBOX_LINE
from pipelines.archives.reader import Alive, Entry, Text, library_errors

MOST_BYTES = 500_000_000  # of one message, which is read into memory
_HEADERS = ("From", "To", "Cc", "Subject", "Date")
_UNDATED_LINE = re.compile(rb"From \S+@\S+\s*$")  # as MBOX_LINE, with an address alone; only after an empty line
_SIGNED = ("pkcs7-mime", "x-pkcs7-mime")
_SIGNED_DATA = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"  # the name of that format in DER
_DATA_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w.=+-]+)*?;base64,([A-Za-z0-9+/=%\s]+)")
_UUENCODED = re.compile(r"^begin [0-7]{3,4} ([^\r\n]*)\r?\n((?:[ -`]{0,63}\r?\n)+?)(?:`| )?\r?\n?end[ \t]*\r?$", re.M)
_TAGS_OF_LINES = {"p", "br", "div", "tr", "li", "h1", "h2", "h3", "h4", "blockquote"}


class Mail:
    """A message: its attachments and pictures are members, its head and body are texts."""

    sequential = False

    def __init__(self, path: Path) -> None:
        if path.stat().st_size > MOST_BYTES:
            raise MediaError("decode", f"it is a message of more than {MOST_BYTES:,} bytes, which is not read")
        self._message = _without_length(path.read_bytes())
        self._parts = list(_attached(self._message))

    def entries(self) -> Iterator[Entry]:
        """The attachments and inline pictures, also those of forwarded messages in it."""
        for n, (name, content, problem) in enumerate(self._parts):
            yield Entry(n, name, len(content), len(content), problem=problem)

    def open(self, entry: Entry) -> BinaryIO:
        """The content of an entry."""
        return io.BytesIO(self._parts[entry.n][1])

    def texts(self) -> Iterator[Text]:
        """Head and body, also of forwarded messages."""
        return message_texts(self._message, "")

    def close(self) -> None:
        """Free the message."""
        self._message = b""
        self._parts.clear()


class Mailbox:
    """An MBOX file. The members of its third message are "3/NAME"."""

    sequential = True

    def __init__(self, path: Path, alive: Alive) -> None:
        self._path, self._alive = path, alive
        self._content = b""

    def entries(self) -> Iterator[Entry]:
        """The attachments of all messages. MediaError after them if a message is too long."""
        n = 0
        for number, message in enumerate(self._messages(), 1):
            for name, content, problem in _attached(message):
                self._content = content
                yield Entry(n, f"{number}/{name}", len(content), len(content), problem=problem)
                n += 1

    def open(self, entry: Entry) -> BinaryIO:
        """The content of the entry that `entries` has just yielded."""
        return io.BytesIO(self._content)

    def texts(self) -> Iterator[Text]:
        """Heads and bodies."""
        for number, message in enumerate(self._messages(), 1):
            yield from message_texts(message, f"message {number}, ")

    def close(self) -> None:
        """Nothing is open between two calls."""

    def _messages(self) -> Iterator[bytes]:
        """The bytes of each message. A line "From ..." with a date or an address begins the next."""
        lines: list[bytes] = []
        size, too_long, empty = 0, 0, True
        with self._path.open("rb") as file:
            for line in file:
                if line.startswith(b"From ") and (MBOX_LINE.match(line) or (empty and _UNDATED_LINE.match(line))):
                    if lines:
                        yield b"".join(lines)
                    lines, size = [], 0
                    self._alive()
                elif size <= MOST_BYTES:
                    lines.append(line)
                    size += len(line)
                    too_long += size > MOST_BYTES
                empty = not line.strip()
        if lines:
            yield b"".join(lines)
        if too_long:
            raise MediaError("decode", f"{too_long} of its messages have more than {MOST_BYTES:,} bytes")


def message_texts(content: bytes, where: str) -> Iterator[Text]:
    """Head and body of a message, and of those that it forwards. `where`: begins the origins."""
    with library_errors():
        parts = list(_parsed(content).walk())
    for part in parts:
        with library_errors():
            head = [f"{name}: {_header(part, name)}" for name in _HEADERS if _header(part, name)]
        if head:
            yield Text("\n".join(head), f"{where}head")
        if part.get_content_maintype() == "text" and not _is_attached(part):
            text = _decoded(part)
            if part.get_content_subtype() == "html":
                text = from_html(text)
            if text.strip():
                yield Text(text, f"{where}body")


def from_html(text: str) -> str:
    """The words of an HTML page, without scripts and styles."""
    words = _Words()
    with library_errors():
        words.feed(text)
        words.close()
    return re.sub(r"[ \t]*\n\s*", "\n", "".join(words.found)).strip()


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style"):
            self._hidden += 1
        elif tag in _TAGS_OF_LINES:
            self.found.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._hidden = max(0, self._hidden - 1)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.found.append(data)


def _parsed(content: bytes) -> EmailMessage:
    with library_errors():
        return BytesParser(policy=email.policy.default).parsebytes(content)


def _attached(content: bytes) -> Iterator[tuple[str, bytes, str | None]]:
    """(name, content, why it cannot be read) of what lies in a message besides its words.

    That is each part that is no text to be read in it, and what its texts hold in letters: pictures within HTML
    (data: URIs), and files in uuencode.
    """
    with library_errors():
        parts = list(_parsed(content).walk())
    for n, part in enumerate(parts):
        if part.is_multipart():
            continue
        if part.get_content_maintype() == "text" and not _is_attached(part):
            yield from ((name, inner, None) for name, inner in _within(_decoded(part), f"part-{n}"))
            continue
        with library_errors():
            payload = part.get_payload(decode=True)
        suffix = mimetypes.guess_extension(part.get_content_type()) or ""
        name = _file_name(part) or f"part-{n}{suffix}"
        yield name, payload if isinstance(payload, bytes) else b"", _unread(part, payload)


def _unread(part: EmailMessage, payload: object) -> str | None:
    """Why the content of a part is not read, although it holds a message; None for other parts."""
    if part.get_content_subtype() in _SIGNED and isinstance(payload, bytes) and _SIGNED_DATA in payload[:32]:
        return "it is a signed message in a form that is not read here (S/MIME)"
    if part.get_content_type() == "message/external-body":
        return "it is not in the message but at another place"
    return None


def _within(text: str, name: str) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the files that a text holds in letters; `name` begins the names of those without one."""
    for n, found in enumerate(_DATA_URI.finditer(text), 1):
        suffix = mimetypes.guess_extension(found[1]) or ""
        with suppress(ValueError):
            yield f"{name}-{n}{suffix}", base64.b64decode(unquote(found[2]))
    for found in _UUENCODED.finditer(text):
        content = b""
        for line in found[2].splitlines():
            with suppress(binascii.Error, UnicodeEncodeError):  # a damaged line; the others may be whole
                content += binascii.a2b_uu(line.encode("ascii"))
        yield found[1].strip() or name, content


def _without_length(content: bytes) -> bytes:
    """A message without the length that Apple Mail writes before it, and the notes that it writes behind it."""
    content = content.removeprefix(BOM_UTF8).lstrip(b"\r\n")
    first, _, rest = content.partition(b"\n")
    return rest[: int(first)] if first.strip().isdigit() else content


def _is_attached(part: EmailMessage) -> bool:
    return part.get_content_disposition() == "attachment" or _file_name(part) is not None


def _file_name(part: EmailMessage) -> str | None:
    try:
        return part.get_filename()
    except Exception:  # the parser of headers raises many things about broken ones; the part has no name then
        return None


def _header(part: EmailMessage, name: str) -> str:
    try:
        return str(part.get(name) or "")
    except Exception:  # as above
        return ""


def _decoded(part: EmailMessage) -> str:
    try:
        return str(part.get_content())
    except Exception:  # an unknown or wrong charset
        payload = part.get_payload(decode=True)
        return payload.decode("latin-1") if isinstance(payload, bytes) else ""
