"""Chroma behind a check of HTTP requests: `python -m cluster.chroma_guard --path FOLDER --host HOST --port PORT`.

Chroma 1.5 accepts any Host header without credentials and has no setting to restrict it, so a page of another site
could read and delete all vectors under a name that resolves to 127.0.0.1 (DNS rebinding). This process starts Chroma on
another port of 127.0.0.1 and forwards connections to it after a check of the first request of each: a browser sends all
requests of a connection to the same host. docs/decisions/0012 compares alternatives and lists what this does not stop.
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


def is_allowed(head: bytes, host: str) -> bool:
    """Whether a request comes from a program and names this server: by an IP address, `localhost` or `host`.

    Rebinding needs a name, so any address is allowed. A request with an Origin comes from a web page, and Raysift has
    none that needs Chroma. One with Sec-Fetch-Site comes from a browser: a page's request for an image has no Origin,
    but the browser would reuse its connection for later requests of the page.
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
    """Forward bytes until one side closes."""
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    writer.close()


async def guard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, chroma_port: int) -> None:
    """Check the first request of a connection, then forward the connection to Chroma, or refuse it with 403."""
    try:
        async with asyncio.timeout(HEAD_S):
            head = await reader.readuntil(b"\r\n\r\n")
    except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        writer.close()
        return
    if not is_allowed(head, host):
        writer.write(REFUSAL)
        writer.close()
        return
    try:
        from_chroma, to_chroma = await asyncio.open_connection("127.0.0.1", chroma_port)
    except OSError:  # a client treats a closed connection as a server that is down
        writer.close()
        return
    to_chroma.write(head)
    await asyncio.gather(_pipe(reader, to_chroma), _pipe(from_chroma, writer))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    """Have Linux kill this process when its parent ends for any reason: no second Chroma may open the folder."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def run(path: str, host: str, port: int) -> int:
    """Start Chroma, listen once it accepts connections, and stop when it ends. Returns its exit status."""
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
    """Run until Chroma ends or this process gets SIGTERM."""
    parser = argparse.ArgumentParser(description="Chroma behind a check that refuses requests of web pages")
    parser.add_argument("--path", required=True, help="Chroma's folder")
    parser.add_argument("--host", required=True, help="the address to listen on")
    parser.add_argument("--port", required=True, type=int)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.exit(asyncio.run(run(arguments.path, arguments.host, arguments.port)))


if __name__ == "__main__":
    main()
