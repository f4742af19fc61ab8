"""Outlook: MSG, a message, and PST, a file of folders with messages."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from cluster.errors import MediaError
from pipelines.archives.mails import from_html
from pipelines.archives.reader import ENCRYPTED, Alive, Entry, Text, library_errors

OLD_OFFICE = "it is a document of Office 97 to 2003 (DOC, XLS, PPT): the pictures and the text in it are not read"
_EMBEDDED = "it is a message in a message, which is not read"


def outlook_message(path: Path) -> "OutlookMessage":
    """Open an OLE file that is a message. MediaError if it is another document."""
    import olefile

    with library_errors(), olefile.OleFileIO(str(path)) as file:
        encrypted, is_message = file.exists("EncryptedPackage"), file.exists("__properties_version1.0")
    if encrypted:
        raise MediaError("decode", ENCRYPTED)
    if not is_message:
        raise MediaError("decode", OLD_OFFICE)
    from oxmsg import Message

    with library_errors():
        return OutlookMessage(Message.load(str(path)))


class OutlookMessage:
    """A message of Outlook, as oxmsg has read it."""

    sequential = False

    def __init__(self, message: Any) -> None:
        self._message = message

    def entries(self) -> Iterator[Entry]:
        """The attachments."""
        for n, attachment in enumerate(self._message.attachments):
            try:
                with library_errors():
                    name, content = attachment.file_name or f"attachment-{n + 1}", attachment.file_bytes
            except MediaError as error:
                yield Entry(n, f"attachment-{n + 1}", 0, problem=error.reason)
                continue
            if content is None:
                yield Entry(n, name, 0, problem=_EMBEDDED)
            else:
                yield Entry(n, name, len(content), len(content))

    def open(self, entry: Entry) -> BinaryIO:
        """The content of an entry."""
        with library_errors():
            return io.BytesIO(self._message.attachments[entry.n].file_bytes)

    def texts(self) -> Iterator[Text]:
        """Subject, sender and body."""
        message = self._message
        with library_errors():
            head = {"From": message.sender, "Subject": message.subject}
            text = message.body or from_html(message.html_body or "")
        yield from _texts(head, text, "")

    def close(self) -> None:
        """oxmsg has read the file into memory."""


class OutlookFolders:
    """A PST or OST file. The attachments of the twelfth message of a folder are "FOLDER/12/NAME"."""

    sequential = True

    def __init__(self, path: Path, alive: Alive, pst: Any = None) -> None:
        """`pst`: an open file of pypff, which tests replace; None: that of the path."""
        self._alive = alive
        self._attachment: Any = None
        if pst is None:
            import pypff

            pst = pypff.file()
            with library_errors():
                pst.open(str(path))
        self._pst = pst

    def entries(self) -> Iterator[Entry]:
        """The attachments of all messages. MediaError after them if some messages could not be read."""
        n = 0
        broken: MediaError | None = None
        for where, message in self._messages():
            try:
                with library_errors():
                    count = message.number_of_attachments
            except MediaError as error:
                broken = MediaError("decode", f"its message {where} cannot be read: {error.reason}")
                continue
            for place in range(count):
                yield self._entry(message, place, n, where)
                n += 1
        if broken is not None:
            raise broken

    def _entry(self, message: Any, place: int, n: int, where: str) -> Entry:
        name = f"attachment-{place + 1}"
        try:
            with library_errors():
                self._attachment = message.get_attachment(place)
                name = self._attachment.long_filename or name
                size = self._attachment.size
        except MediaError as error:  # pypff reads neither messages in messages nor links
            return Entry(n, f"{where}/{name}", 0, problem=error.reason)
        return Entry(n, f"{where}/{name}", size, size)

    def open(self, entry: Entry) -> BinaryIO:
        """The content of the entry that `entries` has just yielded."""
        with library_errors():
            self._attachment.seek_offset(0, 0)
            return io.BytesIO(self._attachment.read_buffer(entry.size) if entry.size else b"")

    def texts(self) -> Iterator[Text]:
        """Subject, sender and body of each message."""
        for where, message in self._messages():
            try:
                with library_errors():
                    head = {"From": message.sender_name, "Subject": message.subject}
                    text = _as_text(message.plain_text_body) or from_html(_as_text(message.html_body))
            except MediaError:  # `entries` tells of it
                continue
            yield from _texts(head, text, f"{where}, ")

    def close(self) -> None:
        """Close the file."""
        self._pst.close()

    def _messages(self) -> Iterator[tuple[str, Any]]:
        """Each message with its folder's path and its number in it."""
        with library_errors():
            waiting = [("", self._pst.get_root_folder())]
        while waiting:
            path, folder = waiting.pop(0)
            self._alive()
            with library_errors():
                name = folder.name or ""
                here = f"{path}/{name}".strip("/")
                messages = folder.number_of_sub_messages
                waiting += [(here, folder.get_sub_folder(n)) for n in range(folder.number_of_sub_folders)]
            for n in range(messages):
                with library_errors():
                    message = folder.get_sub_message(n)
                yield f"{here}/{n + 1}".strip("/"), message


def _as_text(value: bytes | str | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""


def _texts(head: dict[str, str | None], body: str, where: str) -> Iterator[Text]:
    lines = "\n".join(f"{name}: {value}" for name, value in head.items() if value)
    if lines:
        yield Text(lines, f"{where}head")
    if body.strip():
        yield Text(body, f"{where}body")
