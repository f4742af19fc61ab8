"""Formats of containers by their first bytes. Pure functions: nothing is opened here."""

import re

HEAD_BYTES = 1024  # of a file that these functions use

_MAGIC = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # without any member
    b"PK\x07\x08": "zip",  # the first of several volumes
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
    b"\x1f\x8b\x08": "gz",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zst",
    b"%PDF-": "pdf",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "ole",  # MSG, and DOC, XLS and PPT of before 2007
    b"!BDN": "pst",
}
_TAR_BLOCK = 512
_MBOX = re.compile(rb"From \S+ .*\d\d:\d\d.*\d{4}")
# a header that mails begin with, and no other text does; the mail programs' own ones begin with X-
_MAIL = re.compile(
    rb"(?:[!-9;-~]+:[^\n]*\n(?:[ \t][^\n]*\n)*)*?"
    rb"(?:Received|Return-Path|Delivered-To|MIME-Version|Message-ID|Content-Type|From|Subject):",
    re.IGNORECASE,
)
_HEADER = re.compile(rb"[!-9;-~]+:[ \t]?[^\n]*\r?\n(?:[!-9;-~]+:|[ \t])")


def container_format(head: bytes) -> str | None:
    """The name of the format of a container with this head; None if it is none that is read here."""
    if is_tar(head):
        return "tar"
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name
    if _MBOX.match(head.split(b"\n", 1)[0]):
        return "mbox"
    return "eml" if _HEADER.match(head) and _MAIL.match(head) else None


def is_tar(head: bytes) -> bool:
    """Whether a file begins with a TAR header: its checksum is right. Such a file may begin with any name."""
    block = head[:_TAR_BLOCK]
    if len(block) < _TAR_BLOCK or not block[0]:
        return False
    try:
        stored = int(block[148:156].strip(b" \0"), 8)
    except ValueError:
        return False
    return stored == sum(block) - sum(block[148:156]) + 8 * ord(" ")
