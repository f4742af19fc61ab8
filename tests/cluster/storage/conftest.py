import pytest

from tests.support.servers.seaweed import Seaweed

BODY = bytes(range(256)) * 40


@pytest.fixture
def credentials(monkeypatch):
    for name, value in Seaweed("").environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def server(s3):
    client = s3.client()
    client.create_bucket(Bucket="media")
    for key in ("in/a b#?%20.jpg", "in/deep/b.mp4", "in/_raysift/c.jpg", "in/d.txt", "in-other/e.jpg", "in.jpg"):
        client.put_object(Bucket="media", Key=key, Body=BODY)
    return s3
