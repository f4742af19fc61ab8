"""Formats of containers by their first bytes. Pure functions: nothing is opened here."""

import re
from codecs import BOM_UTF8

HEAD_BYTES = 4096  # of a file that these functions use

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
# formats that hold files and are not read here. What is encrypted is among them
_UNREAD = {
    re.compile(rb"MSCF\0\0\0\0"): "a Cabinet archive (CAB)",
    re.compile(rb"\x60\xea..[\x1e-\x30]", re.DOTALL): "an ARJ archive",
    re.compile(rb"..-l[hz][0-9ds]-", re.DOTALL): "an LZH archive",
    re.compile(rb"0707(?:01|02|07)|\xc7\x71|\x71\xc7"): "a CPIO archive",
    re.compile(rb"!<arch>\n"): "an AR archive",
    re.compile(rb"\x04\x22\x4d\x18"): "a file compressed with LZ4",
    re.compile(rb"LZIP\x01"): "a file compressed with lzip",
    re.compile(rb"\x5d\0\0[\0-\xff]{2}(?:\xff{8}|.{4}\0{4})", re.DOTALL): "a file compressed with LZMA",
    re.compile(rb"\x1f[\x9d\xa0]"): "a file compressed with compress",
    re.compile(rb"xar!"): "a XAR archive",
    re.compile(rb".{7}\*\*ACE\*\*", re.DOTALL): "an ACE archive",
    re.compile(rb"MSWIM\0\0\0"): "an image of a disk (WIM)",
    re.compile(rb"EVF\x09\x0d\x0a\xff\0|EVF2\x0d\x0a\x81"): "an image of a disk (EnCase)",
    re.compile(rb"conectix|vhdxfile"): "an image of a disk (VHD)",
    re.compile(rb"KDMV|# Disk DescriptorFile"): "an image of a disk (VMDK)",
    re.compile(rb"QFI\xfb"): "an image of a disk (QCOW)",
    re.compile(rb"LUKS\xba\xbe"): "an encrypted disk (LUKS)",
    re.compile(rb".{3}-FVE-FS-", re.DOTALL): "an encrypted disk (BitLocker)",
    re.compile(rb"\x78\x9f\x3e\x22"): "an attachment of Outlook that holds others (winmail.dat)",
    re.compile(rb"\x30[\x80-\x84].{0,4}\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03", re.DOTALL): (
        "encrypted (S/MIME)"
    ),
    re.compile(rb"-----BEGIN PGP MESSAGE-----"): "encrypted (PGP)",
    re.compile(rb"Salted__"): "encrypted (OpenSSL)",
    re.compile(rb"\{\\rtf"): "a document in RTF",
}
_ZST_NOTES = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")  # of programs that compress in parallel, before the content
_TAR_BLOCK = 512
# the line before a message of an MBOX file, with the date of its arrival
MBOX_LINE = re.compile(rb"From \S+ .*\d\d:\d\d.*\d{4}")
# a header that mails begin with, and no other text does; the mail programs' own ones begin with X-
_MAIL = re.compile(
    rb"(?:[!-9;-~]+:[^\n]*\n(?:[ \t][^\n]*\n)*)*?"
    rb"(?:Received|Return-Path|Delivered-To|MIME-Version|Message-ID|Content-Type|From|Subject"
    rb"|DKIM-Signature|ARC-[A-Z-]+|Authentication-Results|Received-SPF|X-Received):",
    re.IGNORECASE,
)
_APPLE_MAIL = re.compile(rb"\d{1,10} *\r?\n")  # the length of a message, which follows
_LATE_PDF = re.compile(
    rb"[\t\n\r\x1b\x20-\x7e\xef\xbb\xbf]{0,1000}?(?:^|[\n\r])[ \t]*%PDF-\d\.\d[ \t]*[\r\n]"
)  # printers and servers write before it
_HEADER = re.compile(rb"[!-9;-~]+:[ \t]?[^\n]*\r?\n(?:[!-9;-~]+:|[ \t])")


def container_format(head: bytes) -> str | None:
    """The name of the format of a container with this head; None if it is none that is read here."""
    if is_tar(head):
        return "tar"
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name
    if _ZST_NOTES.match(head):
        return "zst"
    head = head.removeprefix(BOM_UTF8).lstrip(b"\r\n")
    if MBOX_LINE.match(head.split(b"\n", 1)[0]):
        return "mbox"
    if length := _APPLE_MAIL.match(head):
        return "emlx" if _is_mail(head[length.end() :]) else None
    if _is_mail(head):
        return "eml"
    return "pdf" if _LATE_PDF.match(head) else None


def unread_archive(head: bytes) -> str | None:
    """What a file with this head is, in words, if it holds files that cannot be read here; None for all others."""
    return next((what for pattern, what in _UNREAD.items() if pattern.match(head)), None)


def _is_mail(head: bytes) -> bool:
    return bool(_HEADER.match(head) and _MAIL.match(head))


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
