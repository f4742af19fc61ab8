"""Files that only their owner may read. Another process sees each whole or not at all."""

import os
import secrets
from pathlib import Path


def create_private(path: Path, text: str) -> None:
    """Write a file unless it exists: of two processes that start at once, both keep the first one's file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    try:
        os.link(own, path)  # fails if it exists
    except FileExistsError:
        pass
    finally:
        own.unlink()


def replace_private(path: Path, content: bytes, durable: bool = True) -> None:
    """Write a file, replacing an earlier one: a crash leaves one of the two. One process at a time may do it.

    `durable`: its content is on disk when this returns, which takes some milliseconds.
    """
    part = path.with_name(f".{path.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    part.replace(path)
