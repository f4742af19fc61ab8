"""What a file is by its first bytes, and the one place where errors of decoding libraries become MediaErrors."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.errors import MediaError
from cluster.records import Kind
from pipelines.media.sources import RemoteFile, Source

_PICTURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_SOUNDS = (b"fLaC", b"ID3")
_CONTAINERS = (b"\x1aE\xdf\xa3", b"OggS", b"FLV\1", b"0&\xb2u\x8ef\xcf\x11", b"\0\0\1\xba", b"\0\0\1\xb3")
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")  # how MP4 and old QuickTime files may begin

TOO_LARGE = "decoding it takes more memory than there is"
_watchers: list[Callable[[], None]] = []


def watch(returned: Callable[[], None]) -> None:
    """Have someone told, from now on, whenever a decoding library has come back: so long it has not stalled."""
    _watchers.append(returned)


@contextmanager
def decoding_errors() -> Iterator[None]:
    """Goes around calls of a decoding library, and around nothing of ours: whatever they raise is the file's fault."""
    try:
        yield
    except MediaError:
        raise
    except MemoryError:
        raise MediaError("decode", TOO_LARGE) from None
    except Exception as error:  # ValueError, SyntaxError, struct.error, PermissionError ...: they leak all kinds
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise MediaError(
            "decode", f"it is damaged or not what it says it is ({' '.join(reason.split())[:160]})"
        ) from error
    finally:
        _tell()


@contextmanager
def readable(source: Source) -> Iterator[Path | RemoteFile]:
    """What a library can read: a path, or a file object. What cannot be fetched is no fault of what was decoded."""
    if isinstance(source, Path):
        yield source
        return
    with RemoteFile(source, _tell) as file:
        try:
            yield file
        except MediaError as error:
            raise file.error or error from None
        if file.error:
            raise file.error


def picture_format(source: Source) -> str | None:
    """Pillow's name of the format if it is a picture that is read here."""
    head = _head(source)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        brands = head[8 : min(len(head), int.from_bytes(head[:4]))]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        if brands[:4] in (b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1"):
            raise MediaError("decode", "it is a HEIC picture, which is not read here; convert it to JPEG")
    return next((name for magic, name in _PICTURES.items() if head.startswith(magic)), None)


def sniff(source: Source) -> Kind:
    """What a file is by its bytes, whatever its name says; a picture of the cover makes no video of a song.

    MediaError if it is empty, no file, or in no format that is read here."""
    if picture_format(source):
        return "image"
    head = _head(source)
    if head[8:12] in (b"WAVE", b"AIFF", b"AIFC") or head.startswith(_SOUNDS):
        return "audio"
    packets = head[:1] == head[188:189] == b"G"  # an MPEG transport stream
    if packets or head.startswith(_CONTAINERS) or head[4:8] in _BOXES or head[8:12] == b"AVI ":
        from pipelines.media import recordings

        return recordings.kind_of(source)
    # the frames of MPEG audio and of ADTS begin with 11 or 12 set bits; layer 3 does not exist (a UTF-16 text has it)
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 != 0x06:
        return "audio"
    raise MediaError("decode", "its bytes are those of no image, video or audio format that is read here")


def _head(source: Source) -> bytes:
    try:
        if isinstance(source, Path):
            _refuse_what_is_no_file(source)
        with readable(source) as file:
            if isinstance(file, RemoteFile):
                head = file.read(256)
            else:
                with file.open("rb") as opened:
                    head = opened.read(256)
    except FileNotFoundError:
        raise MediaError("decode", "it is not there") from None
    except PermissionError:
        raise MediaError("decode", "it may not be read by this user") from None
    if not head:
        raise MediaError("decode", "it is empty: it has no bytes")
    return head


def _refuse_what_is_no_file(path: Path) -> None:
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise MediaError("decode", "it is a folder, not a file")
    if not stat.S_ISREG(mode):
        raise MediaError("decode", "it is not a regular file")


def _tell() -> None:
    for returned in _watchers:
        returned()
