"""File formats by their first bytes. Pure functions: nothing is opened here."""

import re

from cluster.errors import MediaError
from cluster.records import Kind
from pipelines.archives.formats import HEAD_BYTES as HEAD_BYTES
from pipelines.archives.formats import container_format, unread_archive

RAW = "RAW"  # the pictures of cameras' sensors, which LibRaw reads; all other names of formats are Pillow's

_IMAGE_FORMATS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JXL",
    b"\xff\x0a": "JXL",
    b"8BPS": "PSD",
    b"qoif": "QOI",
    b"icns": "ICNS",
    b"DDS ": "DDS",
    b"\x59\xa6\x6a\x95": "SUN",
    b"\xb1\x68\xde\x3a": "DCX",
    # Fujifilm, Olympus, Panasonic, Sigma, Minolta; those that begin as a TIFF are told by its tags
    b"FUJIFILMCCD-RAW": RAW,
    b"IIRO": RAW,
    b"IIRS": RAW,
    b"MMOR": RAW,
    b"IIU\0": RAW,
    b"FOVb": RAW,
    b"\0MRM": RAW,
}
_IMAGE_PATTERNS = {
    re.compile(rb"P[1-6]\s+(?:#[^\n]*\n\s*)*\d+\s"): "PPM",
    re.compile(rb"\x0a[\x00\x02-\x05]\x01[\x01\x02\x04\x08]"): "PCX",
    re.compile(rb"\x01\xda[\x00\x01][\x01\x02]\x00[\x01-\x03]"): "SGI",
    re.compile(rb"\x00\x00\x01\x00[\x01-\x40]\x00...\x00", re.DOTALL): "ICO",
    re.compile(rb"\x00\x00\x02\x00[\x01-\x40]\x00...\x00", re.DOTALL): "CUR",
}
_UNREAD = {
    re.compile(rb"%!PS|\xc5\xd0\xd3\xc6"): "a PostScript drawing",
    re.compile(rb"\xd7\xcd\xc6\x9a"): "a Windows metafile (WMF)",
    re.compile(rb"\x01\x00\x00\x00.{36} EMF", re.DOTALL): "a Windows metafile (EMF)",
    re.compile(rb"AT&TFORM"): "a DjVu document",
    re.compile(rb"v/1\x01"): "an OpenEXR picture",
    re.compile(rb"gimp xcf"): "a GIMP picture (XCF)",
    re.compile(rb"#\?R(?:ADIANCE|GBE)"): "a Radiance picture",
    re.compile(rb"II\xbc"): "a JPEG XR picture",
    re.compile(rb".{128}DICM", re.DOTALL): "a DICOM picture",
}
_UNREAD_VOICE = re.compile(rb"\x02?#!(SILK|EVRC|SMV)")  # of phones and of programs for chats
_XML = (b"<svg", b"<?xml", b"<!--", b"<!DOCTYPE svg")  # how an SVG may begin
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")
_SEQUENCES = (b"hevc", b"hevx", b"hevm", b"hevs", b"msf1")  # of pictures, which FFmpeg reads as a film
FILM = re.compile(rb"\x00\x00\x00[\x10-\xff]ftyp(?!hei|hev|mif|msf|avif|avis|crx |jp2 |jxl )[\x20-\x7e]{4}")
# FLAC, ID3, Sun and NeXT, Core Audio, AMR, Sony Wave64, WavPack, Monkey's Audio, True Audio, Creative Voice
_AUDIO = (
    b"fLaC",
    b"ID3",
    b".snd",
    b"caff",
    b"#!AMR",
    b"riff.\x91\xcf\x11",
    b"wvpk",
    b"MAC ",
    b"TTA1",
    b"Creative Voice File",
    b"DSD ",  # of Sony; of dictating machines; DTS
    b"\x02dss",
    b"\x03dss",
    b"\x7f\xfe\x80\x01",
)
# Matroska, Ogg, Flash, ASF, MPEG program stream and MPEG video
_CONTAINERS = (b"\x1aE\xdf\xa3", b"OggS", b"FLV\1", b"0&\xb2u\x8ef\xcf\x11", b"\0\0\1\xba", b"\0\0\1\xb3",
               # MXF, DV, RealMedia, IVF, and the recorders of Dahua
               b"\x06\x0e+4\x02\x05\x01\x01\x0d\x01\x02", b"\x1f\x07\0", b".RMF", b"DKIF", b"DHAV")  # fmt: skip
# single streams as cameras and recorders write them: H.264, H.265, MPEG-4, AV1; uncompressed frames; NUT, GXF, WTV
_STREAM = re.compile(
    rb"\x00{2,3}\x01(?:[\x09\x27\x47\x67]|[\x40\x42\x46]\x01|\xb0.\x00{2}\x01|[\x00-\x1f]\x00{2}\x01[\x20-\x2f])"
    rb"|\x12\x00\x0a[\x04-\x20]|YUV4MPEG2 |nut/multimedia container\x00|\x00{4}\x01\xbc"
    rb"|\xb7\xd8\x00\x20\x37\x49\xda\x11",
    re.DOTALL,
)
_PACK = re.compile(rb"\x00\x00\x01\xba(?:[\x44-\x7f]|[\x21-\x2f])")  # of an MPEG program stream
_SYNCED = 3  # further packets of a transport stream, or frames of sound, that must follow where one might begin
_KBIT = {  # of MPEG audio: by version and layer
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HZ = (44_100, 48_000, 32_000)
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")  # how MP4 and old QuickTime files may begin
# (bytes before "G", bytes of a packet) of an MPEG transport stream: as broadcast, with a time code (AVCHD, Blu-ray),
# and with a checksum
_TS_PACKETS = ((0, 188), (4, 192), (0, 204))


def kind_of(head: bytes) -> Kind | None:
    """The kind of a file with this head; None if it is no media and no container. "video" may turn out to be audio.

    MediaError for media that are not read here.
    """
    if container_format(head):  # first: a TAR may begin with any letters
        return "container"
    if image_format(head):
        return "image"
    if is_audio(head):
        return "audio"
    if is_container(head):
        return "video"
    voice = _UNREAD_VOICE.match(head)
    if what := unread_archive(head) or (voice and f"a voice message ({voice[1].decode()})"):
        raise MediaError("decode", f"it is {what}, which is not read here")
    sound = head.lstrip(b"\0")  # some programs write zero bytes before an MP3
    if is_mpeg_audio(sound) or sound.startswith((b"ID3", b"\x0b\x77")):  # and AC-3
        return "audio"
    return _cut_out(head)


def _cut_out(head: bytes) -> Kind | None:
    """The kind of a recording that was cut out of a longer one, so that it begins within a packet or frame."""
    for _, size in _TS_PACKETS:
        places = range(1, min(size, len(head) - _SYNCED * size))
        if any(all(head[at + n * size] == ord("G") for n in range(_SYNCED + 1)) for at in places):
            return "video"
    if _PACK.search(head):
        return "video"
    starts = (match.start() for match in re.finditer(rb"\xff[\xe0-\xff]", head))
    return "audio" if any(_frames_follow(head, at) for at in starts) else None


def _frames_follow(head: bytes, at: int) -> bool:
    """Whether frames of MPEG audio or ADTS follow each other from a place on."""
    for _ in range(_SYNCED):
        size = _frame_bytes(head[at : at + 6])
        if not size:
            return False
        at += size
    return _frame_bytes(head[at : at + 6]) > 0


def _frame_bytes(frame: bytes) -> int:
    """The size of a frame of sound by its header; 0 if it is none."""
    if len(frame) < 6 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return 0
    if frame[1] & 0xF6 == 0xF0:  # ADTS
        return (frame[3] & 3) << 11 | frame[4] << 3 | frame[5] >> 5
    version, layer = {3: 1, 2: 2, 0: 4}.get(frame[1] >> 3 & 3, 0), 4 - (frame[1] >> 1 & 3)
    rate, speed = frame[2] >> 4, frame[2] >> 2 & 3
    table = _KBIT.get((min(version, 2), layer))
    if not table or not 0 < rate < 15 or speed == 3:
        return 0
    samples = 576 if layer == 3 and version > 1 else 1152
    return samples * 125 * table[rate - 1] // (_HZ[speed] // version) + (frame[2] >> 1 & 1)


def image_format(head: bytes) -> str | None:
    """Pillow's name of the image format that a file with this head has, or RAW; None if it is no image.

    MediaError names the format of a picture or drawing that no library here reads.
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        brands = head[8 : min(len(head), int.from_bytes(head[:4]))]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        if brands[:4] in _SEQUENCES:
            return None
        if brands[:4] in _HEIC_BRANDS:
            return "HEIF"
        if brands[:4] == b"crx ":  # Canon's CR3
            return RAW
    if _is_motion_jpeg_2000(head):
        return None
    name = next((name for magic, name in _IMAGE_FORMATS.items() if head.startswith(magic)), None)
    name = name or next((name for pattern, name in _IMAGE_PATTERNS.items() if pattern.match(head)), None)
    what = next((what for pattern, what in _UNREAD.items() if pattern.match(head)), None)
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(_XML) and b"<svg" in head and b"<html" not in head:
        what = "an SVG drawing"
    if name is None and what:
        raise MediaError("decode", f"it is {what}, which is not read here; convert it to PNG or JPEG")
    return name


def is_audio(head: bytes) -> bool:
    """Whether a file with this head is in a format that holds no video: WAV, AIFF, FLAC, after an ID3 tag, others."""
    return head[8:12] in (b"WAVE", b"AIFF", b"AIFC", b"QLCM") or head.startswith(_AUDIO)


def is_container(head: bytes) -> bool:
    """Whether a file with this head may hold video, audio or both, which only its streams tell."""
    is_transport_stream = any(head[at : at + 1] == head[at + size : at + size + 1] == b"G" for at, size in _TS_PACKETS)
    begins = head.startswith(_CONTAINERS) or head[4:8] in _BOXES or head[8:12] == b"AVI "
    return is_transport_stream or begins or _is_motion_jpeg_2000(head) or bool(_STREAM.match(head))


def _is_motion_jpeg_2000(head: bytes) -> bool:
    return head[4:8] == b"jP  " and head[20:24] == b"mjp2"


def is_mpeg_audio(head: bytes) -> bool:
    """Whether a file with this head begins with a frame of MPEG audio or ADTS: 11 or 12 set bits.

    Call it last, because the test is weak. Layer 0 does not exist, and would match UTF-16 text.
    """
    return len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 != 0x06
