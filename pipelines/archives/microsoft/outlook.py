"""Outlook: MSG, a message, and PST, a file of folders with messages."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from cluster.errors import MediaError
from pipelines.archives.mails import from_html
from pipelines.archives.microsoft.old_office import OldOffice, is_old_office
from pipelines.archives.reader import ENCRYPTED, Alive, Entry, Reader, Text, library_errors

UNKNOWN = "it is an OLE file of another program than Outlook, Word, Excel and PowerPoint: nothing in it is read"
NO_FILE = "it is no file but a link, or an object of another program, which is not read"
DEEPEST = 10  # messages in messages
_MESSAGE = "__substg1.0_3701000D"  # the part of an attachment that is a message, or an object of another program
_MESSAGE_HEADER = 24  # bytes before the properties of a message in a message
_PROPERTIES = "__properties_version1.0"
_SHORT_NAME, _DISPLAY_NAME, _RTF = 0x3704, 0x3001, 0x1009


def ole_file(path: Path) -> Reader:
    """Open an OLE file: a message or a document of old Office. MediaError if it is neither, or encrypted."""
    import olefile

    with library_errors(), olefile.OleFileIO(str(path)) as file:
        encrypted, is_message = file.exists("EncryptedPackage"), file.exists(_PROPERTIES)
        streams = [names[0] for names in file.listdir(streams=True, storages=False) if len(names) == 1]
    if encrypted:
        raise MediaError("decode", ENCRYPTED)
    if is_old_office(streams):
        return OldOffice(path)
    if not is_message:
        raise MediaError("decode", UNKNOWN)
    from oxmsg import Message

    with library_errors():
        return OutlookMessage(Message.load(str(path)))


class OutlookMessage:
    """A message of Outlook, as oxmsg has read it. The attachments of a message in it are "NAME OF THE MESSAGE/NAME"."""

    sequential = False

    def __init__(self, message: Any) -> None:
        self._messages: list[tuple[str, Any]] = []
        self._attachments: list[tuple[str, Any, str | None]] = []  # path, attachment, problem
        self._add(message, "", 0)

    def entries(self) -> Iterator[Entry]:
        """The attachments, also those of messages in it."""
        for n, (name, attachment, problem) in enumerate(self._attachments):
            size = 0
            if problem is None:
                try:
                    with library_errors():
                        size = len(attachment.file_bytes)
                except MediaError as error:
                    problem = error.reason
            yield Entry(n, name, size, size, problem=problem)

    def open(self, entry: Entry) -> BinaryIO:
        """The content of an entry."""
        with library_errors():
            return io.BytesIO(self._attachments[entry.n][1].file_bytes)

    def texts(self) -> Iterator[Text]:
        """Subject, sender and body, also of messages in it."""
        for where, message in self._messages:
            with library_errors():
                head = {"From": message.sender, "Subject": message.subject}
                text = message.body or from_html(message.html_body or "")
                if not text.strip():
                    text = _from_rtf(message.properties.binary_prop_value(_RTF))
            yield from _texts(head, text, f"{where}, " if where else "")

    def close(self) -> None:
        """oxmsg has read the file into memory."""

    def _add(self, message: Any, where: str, depth: int) -> None:
        self._messages.append((where, message))
        with library_errors():
            attachments = message.attachments
        for n, attachment in enumerate(attachments, 1):
            name, inner, problem = f"attachment-{n}", None, None
            try:
                with library_errors():
                    name = _name(attachment) or name
                    content = attachment.file_bytes
                    inner = None if content is not None else _message_in(attachment)
                    name = (inner and inner.subject) or name
                if content is None and inner is None:
                    problem = NO_FILE
                elif inner is not None and depth >= DEEPEST:
                    problem = f"it lies in {DEEPEST} messages, the most that are opened"
            except MediaError as error:
                problem = error.reason
            path = f"{where}/{name}" if where else name
            if inner is not None and problem is None:
                self._add(inner, path, depth + 1)
            else:
                self._attachments.append((path, attachment, problem))


def _name(attachment: Any) -> str | None:
    properties = attachment.properties
    for value in (
        attachment.file_name,
        properties.str_prop_value(_SHORT_NAME),
        properties.str_prop_value(_DISPLAY_NAME),
    ):
        if value:
            return str(value)
    return None


def _message_in(attachment: Any) -> Any:
    """The message that an attachment is; None if it is none."""
    from oxmsg import Message
    from oxmsg.properties import Properties

    class Inner(Message):
        _properties = property(lambda self: Properties(self._storage, _MESSAGE_HEADER))

    storages = [storage for storage in attachment._storage.storages if storage.name == _MESSAGE]
    if not storages or not any(stream.name == _PROPERTIES for stream in storages[0].streams):
        return None
    return Inner(storages[0])


def _from_rtf(compressed: bytes | None) -> str:
    """The words of a body that is only there as compressed RTF, as Outlook writes it."""
    if not compressed:
        return ""
    from compressed_rtf import decompress

    return _words_of_rtf(decompress(compressed))


def _words_of_rtf(content: bytes | None) -> str:
    from striprtf.striprtf import rtf_to_text

    return str(rtf_to_text(content.decode("latin-1"), errors="ignore")).strip() if content else ""


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
                entry = self._entry(message, place, n, where)
                if entry is not None:
                    yield entry
                    n += 1
        if broken is not None:
            raise broken

    def _entry(self, message: Any, place: int, n: int, where: str) -> Entry | None:
        """An attachment; None if it is a message, which `_messages` yields itself."""
        name = f"attachment-{place + 1}"
        try:
            with library_errors():
                self._attachment = message.get_attachment(place)
                name = self._attachment.long_filename or name
                if _messages_in(self._attachment):
                    return None
                size = self._attachment.size
        except MediaError as error:  # pypff reads neither links nor objects of other programs
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
                    text = text if text.strip() else _words_of_rtf(message.rtf_body)
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
                yield from self._with_inner(message, f"{here}/{n + 1}".strip("/"), 0)

    def _with_inner(self, message: Any, where: str, depth: int) -> Iterator[tuple[str, Any]]:
        """A message, then those that are attached to it, numbered among its attachments."""
        yield where, message
        try:
            with library_errors():
                attachments = [message.get_attachment(n) for n in range(message.number_of_attachments)]
                inner = [(n, one) for n, attachment in enumerate(attachments, 1) for one in _messages_in(attachment)]
        except MediaError:  # `entries` tells of it
            return
        for n, one in inner if depth < DEEPEST else ():
            yield from self._with_inner(one, f"{where}/{n}", depth + 1)


def _messages_in(attachment: Any) -> list[Any]:
    """The messages that an attachment of a PST holds."""
    items = [attachment.get_sub_item(n) for n in range(attachment.number_of_sub_items)]
    return [item for item in items if hasattr(item, "number_of_attachments")]


def _as_text(value: bytes | str | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""


def _texts(head: dict[str, str | None], body: str, where: str) -> Iterator[Text]:
    lines = "\n".join(f"{name}: {value}" for name, value in head.items() if value)
    if lines:
        yield Text(lines, f"{where}head")
    if body.strip():
        yield Text(body, f"{where}body")
