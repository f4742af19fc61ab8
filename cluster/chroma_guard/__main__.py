"""Chroma behind a check of HTTP requests: `python -m cluster.chroma_guard --path FOLDER --host HOST --port PORT`.

Chroma 1.5 answers everybody under any Host header, and has no setting to restrict it: other users of the machine, and
pages of other sites under a name that resolves to 127.0.0.1 (DNS rebinding), could read and delete all vectors. This
process starts Chroma in a network of its own, and forwards connections to it after a check of the first request of
each: whoever has opened a connection with the token may send more over it. The token is in the variable GUARD_TOKEN.
docs/decisions/0012 compares alternatives and lists what this does not stop.
"""

import argparse
import asyncio
import contextlib
import ctypes
import hmac
import ipaddress
import os
import signal
import socket
import subprocess
import sys
from email.message import Message
from http.client import HTTPException, parse_headers
from io import BytesIO
from pathlib import Path

from cluster.chroma_guard import TOKEN_VARIABLE
from cluster.chroma_guard.network import ADVICE, enter_private_network

HEAD_BYTES = 64 << 10
HEAD_S = 10.0  # for the headers of the first request to arrive
START_S = 60.0
PIECE_BYTES = 64 << 10
_PR_SET_PDEATHSIG = 1


def has_token(headers: Message, token: str) -> bool:
    """Whether a request shows the token, once."""
    shown = headers.get_all("Authorization", [])
    expected = f"Bearer {token}".encode()
    return len(shown) == 1 and hmac.compare_digest(shown[0].strip().encode(errors="replace"), expected)


def is_allowed(headers: Message, host: str) -> bool:
    """Whether a request comes from a program and names this server: by an IP address, `localhost` or `host`.

    Rebinding needs a name, so any address is allowed. A request with an Origin comes from a web page, and Raysift has
    none that needs Chroma. One with Sec-Fetch-Site comes from a browser: a page's request for an image has no Origin,
    but the browser would reuse its connection for later requests of the page.
    """
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


async def guard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, token: str, port: int) -> None:
    """Check the first request of a connection, then forward the connection to Chroma, or refuse it: 401 without the
    token, 403 from a web page or for another host, 400 for headers that cannot be parsed.
    """
    try:
        async with asyncio.timeout(HEAD_S):
            head = await reader.readuntil(b"\r\n\r\n")
    except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        writer.close()
        return
    if refused := _refusal(head, host, token):
        writer.write(f"HTTP/1.1 {refused}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        writer.close()
        return
    try:
        from_chroma, to_chroma = await asyncio.open_connection("127.0.0.1", port)
    except OSError:  # a client treats a closed connection as a server that is down
        writer.close()
        return
    to_chroma.write(head)
    await asyncio.gather(_pipe(reader, to_chroma), _pipe(from_chroma, writer))


def _refusal(head: bytes, host: str, token: str) -> str | None:
    """The status with which a request is refused; None if it is allowed."""
    try:
        headers = parse_headers(BytesIO(head.partition(b"\r\n")[2]))
    except HTTPException:  # more than 100 headers
        return "400 Bad Request"
    if not is_allowed(headers, host):
        return "403 Forbidden"
    return None if has_token(headers, token) else "401 Unauthorized"


def _bound(host: str, port: int) -> socket.socket:
    """A socket that has the address but refuses connections until it listens."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    return listener


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _hide() -> None:
    """Keep other users away from Chroma's port, or say in the log why they are not kept away."""
    try:
        enter_private_network()
    except OSError as error:
        reason = f"a private network for Chroma is refused here ({error.strerror}), so other users can reach its port"
        print(f"{reason}. {ADVICE}", file=sys.stderr, flush=True)


def _start_chroma(path: str, port: int) -> "subprocess.Popen[bytes]":
    """Start Chroma's server on 127.0.0.1, with a folder that only this user can read."""
    os.umask(0o077)
    Path(path).mkdir(parents=True, exist_ok=True)
    Path(path).chmod(0o700)  # one that an earlier version has made
    command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", path]
    return subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], preexec_fn=_end_with_parent)


def _end_with_parent() -> None:
    """Have Linux kill this process when its parent ends for any reason: no second Chroma may open the folder."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def run(path: str, host: str, listener: socket.socket, token: str) -> int:
    """Start Chroma, listen once it accepts connections, and stop when it ends. Returns its exit status."""
    port = _free_port()
    chroma = _start_chroma(path, port)
    try:
        async with asyncio.timeout(START_S):
            while chroma.poll() is None:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.05)
        server = await asyncio.start_server(
            lambda reader, writer: guard(reader, writer, host, token, port), sock=listener, limit=HEAD_BYTES
        )
        async with server:
            return await asyncio.to_thread(chroma.wait)
    finally:
        chroma.kill()
        chroma.wait()


def main() -> None:
    """Run until Chroma ends or this process gets SIGTERM."""
    parser = argparse.ArgumentParser(description="Chroma behind a check of the token, which refuses web pages too")
    parser.add_argument("--path", required=True, help="Chroma's folder")
    parser.add_argument("--host", required=True, help="the address to listen on")
    parser.add_argument("--port", required=True, type=int)
    arguments = parser.parse_args()
    token = os.environ.pop(TOKEN_VARIABLE, "")  # popped: Chroma, which inherits the environment, does not need it
    if not token:
        parser.error(f"the variable {TOKEN_VARIABLE} must hold the token that clients have to show")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = _bound(arguments.host, arguments.port)  # before the network changes
    _hide()
    sys.exit(asyncio.run(run(arguments.path, arguments.host, listener, token)))


if __name__ == "__main__":
    main()
