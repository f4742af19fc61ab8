"""A TCP proxy that delays every byte: it adds latency without limiting the bandwidth."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PIECE = 1 << 16


class _Proxy:
    def __init__(self, port: int, one_way_s: float) -> None:
        self.port, self.one_way_s = port, one_way_s

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * self.one_way_s)  # the round trip of the TCP handshake
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.gather(self._copy(reader, to_server), self._copy(from_server, writer))

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        clock = asyncio.get_running_loop().time
        in_transit: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, piece = await in_transit.get()
                await asyncio.sleep(max(0, due - clock()))
                if not piece:
                    break
                target.write(piece)
                await target.drain()
            target.close()

        delivering = asyncio.create_task(deliver())
        piece = b"x"
        while piece:
            try:
                piece = await source.read(PIECE)
            except ConnectionError:
                piece = b""
            in_transit.put_nowait((clock() + self.one_way_s, piece))
        await delivering


@contextmanager
def delayed(port: int, one_way_s: float) -> Iterator[int]:
    """Run a proxy to a local port that delays each direction by `one_way_s` seconds; yields the proxy's port."""
    loop = asyncio.new_event_loop()
    proxy = _Proxy(port, one_way_s)
    server = loop.run_until_complete(asyncio.start_server(proxy.connect, "127.0.0.1", 0, limit=PIECE))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
