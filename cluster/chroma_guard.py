"""Chroma behind a check of who asks: `python -m cluster.chroma_guard --path FOLDER --host HOST --port PORT`.

Chroma 1.5 answers any Host without a credential and has no setting for it, so a page of another site could read and
delete all vectors by a name that it lets point to 127.0.0.1 (DNS rebinding). This process starts Chroma on another port
of 127.0.0.1 and passes connections on to it, after it has looked at the first request of each: a browser sends all
requests of a connection to the same host. docs/decisions/0012 says what was weighed, and what this does not keep out.
"""

import argparse
import asyncio
import contextlib
import ctypes
import ipaddress
import signal
import socket
import subprocess
import sys
from http.client import parse_headers
from io import BytesIO
from pathlib import Path

HEAD_BYTES = 64 << 10
HEAD_S = 10.0  # for the headers of the first request to arrive
START_S = 60.0
PIECE_BYTES = 64 << 10
_PR_SET_PDEATHSIG = 1
REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def may_ask(head: bytes, host: str) -> bool:
    """Whether the head of a request is a program's that asks for this server: by an address, `localhost` or `host`.

    Rebinding needs a name, so any address is taken. A request with an Origin comes from a page, and none is ours. One
    with Sec-Fetch-Site comes from a browser: a page's picture has no Origin, but the connection that it opens would be
    used again for what the page sends afterwards.
    """
    headers = parse_headers(BytesIO(head.partition(b"\r\n")[2]))
    names = headers.get_all("Host", [])
    if len(names) != 1 or "Origin" in headers or "Sec-Fetch-Site" in headers:
        return False
    name = names[0].strip().lower()
    name = name[1 : name.find("]")] if name.startswith("[") else name.partition(":")[0]
    if name in ("localhost", host.lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until one side closes."""
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    writer.close()


async def guard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, chroma_port: int) -> None:
    """Look at the first request of a connection, then pass the connection on to Chroma, or refuse it with 403."""
    try:
        async with asyncio.timeout(HEAD_S):
            head = await reader.readuntil(b"\r\n\r\n")
    except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        writer.close()
        return
    if not may_ask(head, host):
        writer.write(REFUSAL)
        writer.close()
        return
    try:
        from_chroma, to_chroma = await asyncio.open_connection("127.0.0.1", chroma_port)
    except OSError:  # its client takes a closed connection for a server that is down
        writer.close()
        return
    to_chroma.write(head)
    await asyncio.gather(_pipe(reader, to_chroma), _pipe(from_chroma, writer))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    """Let Linux kill this process when its parent ends, however it does: no second Chroma may open the folder."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def run(path: str, host: str, port: int) -> int:
    """Start Chroma, listen once it does, and end when it ends; its exit status."""
    chroma_port = _free_port()
    command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", path]
    command += ["--host", "127.0.0.1", "--port", str(chroma_port)]
    chroma = subprocess.Popen(command, preexec_fn=_end_with_parent)
    try:
        async with asyncio.timeout(START_S):
            while chroma.poll() is None:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", chroma_port)
                    writer.close()
                    break
                await asyncio.sleep(0.05)
        server = await asyncio.start_server(
            lambda reader, writer: guard(reader, writer, host, chroma_port), host, port, limit=HEAD_BYTES
        )
        async with server:
            return await asyncio.to_thread(chroma.wait)
    finally:
        chroma.kill()
        chroma.wait()


def main() -> None:
    """Run until Chroma ends or this process is told to."""
    parser = argparse.ArgumentParser(description="Chroma, which refuses what a page of another site asks")
    parser.add_argument("--path", required=True, help="Chroma's folder")
    parser.add_argument("--host", required=True, help="the address to listen on")
    parser.add_argument("--port", required=True, type=int)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.exit(asyncio.run(run(arguments.path, arguments.host, arguments.port)))


if __name__ == "__main__":
    main()
