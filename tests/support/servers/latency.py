"""A proxy that lets TCP connections through, each byte a while later: a long line, and not a narrow one."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PIECE = 1 << 16


class _Proxy:
    def __init__(self, port: int, one_way_s: float) -> None:
        self.port, self.one_way_s = port, one_way_s

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * self.one_way_s)  # the handshake
        there, back = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.gather(self._carry(reader, back), self._carry(there, writer))

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        clock = asyncio.get_running_loop().time
        underway: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def arrive() -> None:
            while True:
                due, piece = await underway.get()
                await asyncio.sleep(max(0, due - clock()))
                if not piece:
                    break
                target.write(piece)
                await target.drain()
            target.close()

        arriving = asyncio.create_task(arrive())
        piece = b"x"
        while piece:
            try:
                piece = await source.read(PIECE)
            except ConnectionError:
                piece = b""
            underway.put_nowait((clock() + self.one_way_s, piece))
        await arriving


@contextmanager
def delayed(port: int, one_way_s: float) -> Iterator[int]:
    """The port of a proxy to that port of this machine, from here to the end of the block."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(_Proxy(port, one_way_s).meet, "127.0.0.1", 0, limit=PIECE))
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
