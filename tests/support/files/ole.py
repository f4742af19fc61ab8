"""Write OLE files for tests: compound files of streams and storages, messages of Outlook, old Office documents."""

import struct
from collections.abc import Mapping
from typing import Union

Tree = Mapping[str, Union[bytes, "Tree"]]  # name -> content of a stream, or a storage

_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
_SECTOR, _SMALL, _CUTOFF = 512, 64, 4096


def compound(tree: Tree) -> bytes:
    """An OLE file (MS-CFB, version 3)."""
    entries: list[dict] = [{"name": "Root Entry", "kind": 5, "child": _FREE, "right": _FREE, "content": b""}]

    def add(storage: Tree, parent: int) -> None:
        before = None
        for name, content in sorted(storage.items(), key=lambda item: (len(item[0]), item[0].upper())):
            is_stream = isinstance(content, bytes)
            entry = {"name": name, "kind": 2 if is_stream else 1, "child": _FREE, "right": _FREE}
            entries.append(entry | {"content": content if is_stream else b""})
            n = len(entries) - 1
            if before is None:
                entries[parent]["child"] = n
            else:
                entries[before]["right"] = n
            before = n
            if not is_stream:
                add(content, n)

    add(tree, 0)
    small, small_fat, sectors, fat = b"", list[int](), list[bytes](), list[int]()

    def stored(content: bytes, size: int, chain: list[int]) -> tuple[int, list[bytes]]:
        pieces = [content[at : at + size].ljust(size, b"\0") for at in range(0, len(content), size)]
        begin = len(chain)
        chain += [begin + n + 1 for n in range(len(pieces) - 1)] + ([_END] if pieces else [])
        return (begin if pieces else _END), pieces

    for entry in entries[1:]:
        content = entry["content"]
        entry["size"] = len(content)
        if len(content) < _CUTOFF:
            entry["begin"], pieces = stored(content, _SMALL, small_fat)
            small += b"".join(pieces)
        else:
            entry["begin"], pieces = stored(content, _SECTOR, fat)
            sectors += pieces
    entries[0]["size"] = len(small)
    entries[0]["begin"], pieces = stored(small, _SECTOR, fat)
    sectors += pieces
    small_begin, pieces = stored(struct.pack(f"<{len(small_fat)}I", *small_fat), _SECTOR, fat)
    sectors, small_sectors = sectors + [piece[: len(piece)] for piece in pieces], len(pieces)
    directory = b"".join(map(_directory_entry, entries))
    directory_begin, pieces = stored(directory, _SECTOR, fat)
    sectors += pieces
    count = 1
    while (len(fat) + count) * 4 > count * _SECTOR:
        count += 1
    fat_begin = len(fat)
    fat += [_FAT] * count
    table = struct.pack(f"<{len(fat)}I", *fat).ljust(count * _SECTOR, b"\xff")
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack(
        "<IIIIIIIIII", 0, count, directory_begin, 0, _CUTOFF, small_begin, small_sectors, _END, 0, fat_begin
    )
    header += struct.pack("<108I", *[fat_begin + n if n < count else _FREE for n in range(1, 109)])
    return header[:_SECTOR] + b"".join(sectors) + table


def _directory_entry(entry: dict) -> bytes:
    name = entry["name"].encode("utf-16-le") + b"\0\0"
    head = name.ljust(64, b"\0") + struct.pack(
        "<HBBIII", len(name), entry["kind"], 1, _FREE, entry["right"], entry["child"]
    )
    return head + bytes(36) + struct.pack("<IQ", entry["begin"], entry["size"])


def message(
    subject: str, body: str = "", attachments: Mapping[str, "bytes | Tree"] = {}, header: int = 32, rtf: bytes = b""
) -> Tree:
    """A message of Outlook: name -> bytes of each file attached to it, or another message, made with header=24."""
    tree = _properties({(0x0037, 0x1F): subject, (0x1000, 0x1F): body, (0x1009, 0x102): rtf}, header)
    for n, (name, content) in enumerate(attachments.items()):
        values = {(0x3707, 0x1F): name} | ({(0x3701, 0x102): content} if isinstance(content, bytes) else {})
        attachment = _properties(values, 8)
        if not isinstance(content, bytes):
            attachment = {**attachment, "__substg1.0_3701000D": content}
        tree = {**tree, f"__attach_version1.0_#{n:08X}": attachment}
    return tree


def _properties(values: Mapping[tuple[int, int], str | bytes], header: int) -> dict[str, bytes]:
    index, streams = bytes(header), {}
    for (number, kind), value in values.items():
        if value:
            content = value if isinstance(value, bytes) else value.encode("utf-16-le")
            index += struct.pack("<HHIII", kind, number, 6, len(content), 0)
            streams[f"__substg1.0_{number:04X}{kind:04X}"] = content
    return {"__properties_version1.0": index, **streams}


def blip(kind: int, content: bytes, instance: int = 0x46A) -> bytes:
    """A picture in a drawing of old Office; kind 0x1D is a JPEG, 0x1E a PNG."""
    body = bytes(17) + content
    return struct.pack("<HHI", instance << 4, 0xF000 | kind, len(body)) + body


def word_document(*pieces: str, pictures: bytes = b"", encrypted: bool = False) -> Tree:
    """A DOC with pieces of text: those of Latin letters as bytes, others as UTF-16."""
    document, places, letters = bytearray(0x600), b"", [0]
    for piece in pieces:
        is_narrow = piece.isascii()
        content = piece.encode("cp1252" if is_narrow else "utf-16-le")
        begin = 2 * len(document) | 0x40000000 if is_narrow else len(document)
        places += struct.pack("<HIH", 0, begin, 0)
        document += content + b"\0" * (len(content) % 2)
        letters.append(letters[-1] + len(piece))
    index = struct.pack(f"<{len(letters)}I", *letters) + places
    table = b"\1\2\0xx" + b"\2" + struct.pack("<I", len(index)) + index
    struct.pack_into("<HH", document, 0, 0xA5EC, 0xC1)
    struct.pack_into("<H", document, 0x0A, 0x0200 | (0x0100 if encrypted else 0))
    struct.pack_into("<II", document, 0x1A2, 4, len(table))
    return {"WordDocument": bytes(document), "1Table": b"\0" * 4 + table, "Data": pictures or b"\0"}


def slide_show(*texts: str, pictures: bytes = b"") -> Tree:
    """A PPT whose slides have these texts."""
    atoms = b"".join(struct.pack("<HHI", 0, 0x0FA0, 2 * len(text)) + text.encode("utf-16-le") for text in texts)
    document = struct.pack("<HHI", 0xF, 0x03E8, len(atoms)) + atoms
    return {"PowerPoint Document": document, "Pictures": pictures or b"\0", "Current User": b"\0" * 20}


def work_book(*strings: str, pictures: bytes = b"", password: bool = False) -> Tree:
    """An XLS with one sheet "Cargo" and a column of texts."""

    def record(kind: int, body: bytes = b"") -> bytes:
        return struct.pack("<HH", kind, len(body)) + body

    begin = record(0x809, struct.pack("<HHHHII", 0x600, 5, 0x1DBB, 1996, 0, 6)) + record(0x42, struct.pack("<H", 1200))
    begin += record(0x2F, bytes(6)) if password else b""
    drawings = b"".join(
        record(0xEB if n == 0 else 0x3C, pictures[at : at + 8000]) for n, at in enumerate(range(0, len(pictures), 8000))
    )
    shared = struct.pack("<II", len(strings), len(strings))
    shared += b"".join(struct.pack("<HB", len(text), 1) + text.encode("utf-16-le") for text in strings)
    after = drawings + record(0xFC, shared) + record(0x0A)
    place = len(begin) + 4 + 8 + 5 + len(after)
    globals_ = begin + record(0x85, struct.pack("<IBBBB", place, 0, 0, 5, 0) + b"Cargo") + after
    cells = b"".join(record(0xFD, struct.pack("<HHHI", n, 0, 0, n)) for n in range(len(strings)))
    number = record(0x203, struct.pack("<HHHd", len(strings), 0, 0, 42.5))
    size = record(0x200, struct.pack("<IIHHH", 0, len(strings) + 1, 0, 1, 0))
    sheet = record(0x809, struct.pack("<HHHHII", 0x600, 0x10, 0x1DBB, 1996, 0, 6)) + size + cells + number
    return {"Workbook": globals_ + sheet + record(0x0A)}


def dropped(name: str, content: bytes) -> Tree:
    """A file that was dropped into a document."""
    path = b"C:\\temp\\x\0"
    native = b"\2\0" + name.encode() + b"\0" + b"C:\\x\0" + bytes(4) + struct.pack("<I", len(path)) + path
    native += struct.pack("<I", len(content)) + content
    return {"ObjectPool": {"_1": {"\x01Ole10Native": struct.pack("<I", len(native)) + native}}}
