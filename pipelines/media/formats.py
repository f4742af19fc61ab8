"""File formats by their first bytes. Pure functions: nothing is opened here."""

from cluster.errors import MediaError

HEAD_BYTES = 256  # bytes at the start of a file that these functions use

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
}
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1")
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
)
# Matroska, Ogg, Flash, ASF, MPEG program stream and MPEG video
_CONTAINERS = (b"\x1aE\xdf\xa3", b"OggS", b"FLV\1", b"0&\xb2u\x8ef\xcf\x11", b"\0\0\1\xba", b"\0\0\1\xb3",
               # MXF, DV, RealMedia, IVF, and the recorders of Dahua
               b"\x06\x0e+4\x02\x05\x01\x01\x0d\x01\x02", b"\x1f\x07\0", b".RMF", b"DKIF", b"DHAV")  # fmt: skip
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")  # how MP4 and old QuickTime files may begin
# (bytes before "G", bytes of a packet) of an MPEG transport stream: as broadcast, with a time code (AVCHD, Blu-ray),
# and with a checksum
_TS_PACKETS = ((0, 188), (4, 192), (0, 204))


def image_format(head: bytes) -> str | None:
    """Pillow's name of the image format that a file with this head has; None if it is no image that is supported.

    MediaError for HEIC, which people send and no library here decodes.
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        brands = head[8 : min(len(head), int.from_bytes(head[:4]))]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        if brands[:4] in _HEIC_BRANDS:
            raise MediaError("decode", "it is a HEIC picture, which is not read here; convert it to JPEG")
    return next((name for magic, name in _IMAGE_FORMATS.items() if head.startswith(magic)), None)


def is_audio(head: bytes) -> bool:
    """Whether a file with this head is in a format that holds no video: WAV, AIFF, FLAC, after an ID3 tag, others."""
    return head[8:12] in (b"WAVE", b"AIFF", b"AIFC") or head.startswith(_AUDIO)


def is_container(head: bytes) -> bool:
    """Whether a file with this head may hold video, audio or both, which only its streams tell."""
    is_transport_stream = any(head[at : at + 1] == head[at + size : at + size + 1] == b"G" for at, size in _TS_PACKETS)
    return is_transport_stream or head.startswith(_CONTAINERS) or head[4:8] in _BOXES or head[8:12] == b"AVI "


def is_mpeg_audio(head: bytes) -> bool:
    """Whether a file with this head begins with a frame of MPEG audio or ADTS: 11 or 12 set bits.

    Call it last, because the test is weak. Layer 0 does not exist, and would match UTF-16 text.
    """
    return len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 != 0x06
