"""Run an in-memory Redis server for tests, on a port of its own."""

import signal
import subprocess
from types import TracebackType

import redis

from tests.support.browser import free_port


class RedisServer:
    """A server that can be stopped, restarted and suspended. As a context manager it runs during the block."""

    def __init__(self, password: str = "") -> None:
        self.port = free_port()
        self.password = password
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """redis://, with the password if there is one."""
        return f"redis://{f':{self.password}@' if self.password else ''}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it answers a PING."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        if self.password:
            options += ["--requirepass", self.password]
        self.process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        with redis.Redis.from_url(self.url, retry_on_error=[redis.ConnectionError], socket_timeout=10) as client:
            client.set_retry(redis.retry.Retry(redis.backoff.ConstantBackoff(0.05), 200))
            client.ping()

    def stop(self) -> None:
        """Kill the server; its data are lost."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def hang(self) -> None:
        """Suspend the process: its port accepts connections, and requests get no answer."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Resume the process after `hang`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
