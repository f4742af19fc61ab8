"""TAR archives in every compression, single compressed files, 7z and RAR."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
from pathlib import Path

import py7zr
import pytest
from backports import zstd

from pipelines.media.pool import Decoder
from tests.pipelines.archives.scans import Scan, contents, labels, png, reasons, scan

COMPRESS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd.compress}


def tarred(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def counting_unpacks(scanning: Scan) -> list[int]:
    """The numbers of the members asked for in each pass over a container, as they are made."""
    passes, extract = [], scanning.decoder.extract

    def counted(path, wanted, *more):
        passes.append(wanted[0])
        return extract(path, wanted, *more)

    scanning.decoder.extract = counted  # type: ignore[method-assign]
    return passes


@pytest.mark.parametrize("suffix", COMPRESS)
def test_pictures_in_a_tar_are_analysed_whatever_compresses_it(tmp_path, suffix):
    content = tarred(("BM/red.png", png()), ("readme.txt", b"x"), ("größe.png", png("blue")))
    path = written(tmp_path / f"a.tar{suffix}", COMPRESS[suffix](content))
    with scan() as scanning:
        passes = counting_unpacks(scanning)
        found = scanning.found(path)
    assert list(found) == ["", "BM/red.png", "größe.png"]
    assert "red" in labels(found["BM/red.png"]) and "blue" in labels(found["größe.png"])
    assert contents(found[""]) == "2 image, 1 .txt (no media)" and not found[""].failures
    assert len(passes) == (1 if suffix else 2)  # a compressed one is unpacked once for all


def test_a_tar_that_is_cut_short_says_so_after_the_members_that_could_be_read(tmp_path):
    content = tarred(("a.png", png()), ("b.png", png("blue")))
    damaged = bytearray(content)
    damaged[1024 + 100] ^= 0xFF  # in the second header
    with scan() as scanning:
        for n, broken in enumerate((content[:1024], bytes(damaged), gzip.compress(content)[:-60])):
            found = scanning.found(written(tmp_path / f"{n}.tar", broken))
            assert "a.png" in found or n == 2
            assert "cut short" in reasons(found[""]) or "ended before" in reasons(found[""]), reasons(found[""])


def test_a_bomb_in_a_tar_gz_ends_at_the_limit(tmp_path):
    path = written(tmp_path / "a.tar.gz", gzip.compress(tarred(("a.png", png()), ("zeros", bytes(40_000_000)))))
    with scan() as scanning:
        found = scanning.found(path)
    assert "unpacks to more than" in reasons(found[""]) and "red" in labels(found["a.png"])


def test_a_single_compressed_picture_is_a_member_with_the_name_it_had(tmp_path):
    file = io.BytesIO()
    with gzip.GzipFile("before.png", "wb", fileobj=file) as compressed:
        compressed.write(png())
    with scan() as scanning:
        assert "red" in labels(scanning.found(written(tmp_path / "a.gz", file.getvalue()))["before.png"])
        assert "red" in labels(scanning.found(written(tmp_path / "b.xz", lzma.compress(png())))["content"])


def seven(path: Path, *members: tuple[str, bytes], password: str | None = None, header: bool = False) -> Path:
    with py7zr.SevenZipFile(path, "w", password=password, header_encryption=header) as archive:
        for name, content in members:
            archive.writestr(content, name)
    return path


def test_a_solid_7z_is_unpacked_once_for_all_its_members(tmp_path):
    members = [(f"p/{n}.png", png("red")) for n in range(6)] + [("a.txt", b"x"), ("empty", b"")]
    path = seven(tmp_path / "a.7z", *members)
    with scan() as scanning:
        passes = counting_unpacks(scanning)
        found = scanning.found(path)
    assert list(found) == ["", *(f"p/{n}.png" for n in range(6))]
    assert all("red" in labels(found[f"p/{n}.png"]) for n in range(6)) and len(passes) == 1
    assert contents(found[""]) == "6 image, 1 without a suffix (no media), 1 .txt (no media)"
    assert not found[""].failures


def test_an_encrypted_7z_says_so(tmp_path):
    with scan() as scanning:
        for header in (False, True):
            found = scanning.found(seven(tmp_path / f"{header}.7z", ("a.png", png()), password="x", header=header))
            assert list(found) == [""] and "it is encrypted" in reasons(found[""])


def test_a_7z_bomb_and_a_damaged_7z_are_reasons(tmp_path):
    bomb = seven(tmp_path / "bomb.7z", ("zeros", bytes(60_000_000)))
    broken = seven(tmp_path / "broken.7z", ("a.png", png()), ("b.bin", bytes(range(256)) * 400))
    content = bytearray(broken.read_bytes())
    content[60] ^= 0xFF
    broken.write_bytes(content)
    with scan() as scanning:
        assert "unpacks to more than" in reasons(scanning.found(bomb)[""])
        assert scanning.found(broken)[""].failures


def rar(*members: tuple[str, bytes], method: int = 0x30) -> bytes:
    """A RAR archive of version 3 with members that are stored uncompressed, or say that they are not."""
    import struct
    import zlib

    def block(kind: int, flags: int, fields: bytes, data: bytes = b"") -> bytes:
        body = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
        return struct.pack("<H", zlib.crc32(body) & 0xFFFF) + body + data

    content = b"Rar!\x1a\x07\x00" + block(0x73, 0, bytes(6))
    for name, data in members:
        sizes = struct.pack("<IIBIIBBHI", len(data), len(data), 3, zlib.crc32(data), 0, 29, method, len(name), 0o100644)
        content += block(0x74, 0x8000, sizes + name.encode(), data)
    return content + block(0x7B, 0x4000, b"")


def test_stored_members_of_a_rar_are_analysed_and_others_need_a_program(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")  # of the processes of a decoder that is started now
    with Decoder() as own, scan(decoder=own) as scanning:
        found = scanning.found(written(tmp_path / "a.rar", rar(("a.png", png()))))
        assert "red" in labels(found["a.png"]) and not found[""].failures
        found = scanning.found(written(tmp_path / "b.rar", rar(("a.png", png()), method=0x33)))
    assert "there is no program for RAR on this machine" in reasons(found[""])


def test_a_member_of_a_type_that_only_other_programs_know_is_read_as_a_file(tmp_path):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo("a.png")
        info.size, info.type = len(png()), b"Z"
        archive.addfile(info, io.BytesIO(png()))
    with scan() as scanning:
        found = scanning.found(written(tmp_path / "a.tar", file.getvalue()))
    assert list(found) == ["", "a.png"] and "red" in labels(found["a.png"])


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_archives_that_follow_each_other_in_one_file_are_all_read(tmp_path, compress):
    content = compress(tarred(("a.png", png()))) + compress(tarred(("b.png", png("blue"))))
    with scan() as scanning:
        found = scanning.found(written(tmp_path / "a.tar", content))
    assert list(found) == ["", "a.png", "b.png"] and "blue" in labels(found["b.png"]) and not found[""].failures


def test_the_members_before_the_cut_of_a_compressed_archive_are_read(tmp_path):
    noise = bytes(random.Random(1).randbytes(400_000))
    content = gzip.compress(tarred(("a.png", png()), ("b.bin", noise), ("c.png", png("blue"))))
    with scan() as scanning:
        found = scanning.found(written(tmp_path / "a.tar.gz", content[:200_000]))
    assert list(found) == ["", "a.png"] and "red" in labels(found["a.png"]) and found[""].failures


def test_other_bytes_behind_a_compressed_file_and_notes_before_it_do_no_harm(tmp_path):
    with scan() as scanning:
        behind = scanning.found(written(tmp_path / "a.gz", gzip.compress(png()) + b"other bytes"))
        before = scanning.found(written(tmp_path / "b.zst", b"\x50\x2a\x4d\x18\4\0\0\0note" + zstd.compress(png())))
    assert "red" in labels(behind["content"]) and "red" in labels(before["content"])
