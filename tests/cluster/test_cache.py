"""The cache: a file with concurrent writers, and a real Redis that is stopped, started and made to hang."""

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from cluster import cache as caching
from cluster.cache import Cache, FileStore, RedisStore, open_cache
from cluster.errors import SettingsError
from cluster.settings import Settings
from tests.support.paths import ROOT
from tests.support.servers.redis import RedisServer

needs_redis = pytest.mark.skipif(not shutil.which("redis-server"), reason="no redis-server is installed")


@pytest.fixture(params=["file", pytest.param("redis", marks=needs_redis)])
def cache(request, tmp_path):
    if request.param == "file":
        yield Cache(FileStore(tmp_path / "cache.sqlite", 10))
        return
    with RedisServer() as server:
        yield Cache(RedisStore(server.url, 1))


@pytest.fixture
def server():
    with RedisServer() as running:
        yield running


@pytest.fixture
def file(tmp_path):
    return Cache(FileStore(tmp_path / "state" / "cache.sqlite", 1))


def allow_retry(cache: Cache) -> None:
    """Let the next call reach a store that has just failed, as if RETRY_AFTER_S had passed."""
    cache.retry_at = dict.fromkeys(cache.retry_at, 0.0)


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_stored_values_are_read_and_other_keys_are_misses(cache):
    long = "k" * 10_000
    cache.put({"a": b"1", long: b"", "ü": bytes(200_000)})
    assert cache.get(["a", "b", long, "ü"]) == {"a": b"1", long: b"", "ü": bytes(200_000)}
    cache.put({"a": b"2"})
    assert cache.get(["a"]) == {"a": b"2"}
    assert cache.get([]) == {}


def test_clearing_deletes_every_entry(cache):
    cache.put({str(n): b"x" for n in range(100)})
    cache.clear()
    assert cache.get([str(n) for n in range(100)]) == {}


def test_the_settings_select_the_store(tmp_path):
    state = {"state_dir": tmp_path}
    assert isinstance(open_cache(Settings(**state)).store, FileStore)
    redis = Settings(**state, cache={"redis_url": "redis://127.0.0.1:1/0"})
    assert isinstance(open_cache(redis).store, RedisStore)
    with pytest.raises(SettingsError, match=r"cache\.redis_url is wrong"):
        open_cache(Settings(**state, cache={"redis_url": "http://127.0.0.1"}))


WRITER = """
import sys
from pathlib import Path
from cluster.cache import Cache, FileStore
cache = Cache(FileStore(Path(sys.argv[1]), 50))
for n in range(50):
    cache.put({f"{sys.argv[2]} {n}": bytes(2000), f"all {n}": b"same"})
sys.exit(len(cache.get([f"{sys.argv[2]} {n}" for n in range(50)])) != 50 or bool(cache.retry_at))
"""


def test_several_processes_create_and_write_the_same_file_at_once(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path / "cache.sqlite")]
    writers = [subprocess.Popen([*command, str(n)], cwd=ROOT) for n in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]


def test_several_threads_use_one_cache(file):
    def use(name: str) -> None:
        for n in range(20):
            file.put({f"{name} {n}": b"x"})

    threads = [threading.Thread(target=use, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(file.get([f"{name} {n}" for name in "abcd" for n in range(20)])) == 80


def test_beyond_its_size_the_least_recently_used_entries_are_removed(file, monkeypatch):
    hours = iter(range(10_000))
    monkeypatch.setattr(caching, "_hour", lambda: next(hours))
    file.put({"kept": b"x", "old": b"x"})
    for n in range(400):
        file.put({str(n): os.urandom(5000)})
        file.get(["kept"])
    assert set(file.get(["kept", "old", "0", "399"])) == {"kept", "399"}
    assert file.store._bytes(file.store._connection()) <= 1e6
    assert file.store.path.stat().st_size < 1.5e6


def test_only_the_owner_may_read_the_file(file):
    file.put({"a": b"1"})
    assert {path.stat().st_mode & 0o077 for path in file.store.path.parent.iterdir()} == {0}


@pytest.mark.parametrize("damage", [b"no database at all" * 1000, b""])
def test_a_damaged_file_is_a_miss_that_is_logged_once_with_what_to_do(tmp_path, damage, caplog):
    path = tmp_path / "cache.sqlite"
    before = FileStore(path, 1)
    Cache(before).put({"a": b"1"})
    before._connection().close()
    path.write_bytes(damage)
    file = Cache(FileStore(path, 1))
    for _ in range(3):
        assert file.get(["a"]) == {}
        file.put({"b": b"1"})
        allow_retry(file)
    if damage:
        (message,) = warnings(caplog)
        assert (
            "file is not a database" in message
            and "delete that file if it is damaged" in message
            and str(path) in message
        )
    path.unlink()
    file.put({"c": b"1"})
    assert file.get(["c"]) == {"c": b"1"}, "a new file is created in its place"


def test_a_full_file_can_still_be_read(file, caplog):
    file.put({"a": b"1"})
    connection = file.store._connection()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(3):
        file.put({"b": bytes(100_000)})
        assert file.get(["a", "b"]) == {"a": b"1"}
        allow_retry(file)
    (message,) = warnings(caplog)
    assert "database or disk is full" in message and "Free space" in message
    connection.execute("PRAGMA max_page_count = 100000")
    file.put({"b": b"2"})
    assert file.get(["a", "b"]) == {"a": b"1", "b": b"2"}


def test_a_file_that_is_locked_by_another_writer_can_be_read(file, caplog):
    file.put({"a": b"1"})
    file.store._connection().execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(file.store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    file.put({"b": b"1"})
    assert file.get(["a", "b"]) == {"a": b"1"} and "locked" in warnings(caplog)[0]
    other.execute("ROLLBACK")


def test_a_store_that_failed_is_not_called_for_a_while():
    class Broken:
        errors, advice, calls = (OSError,), "Repair it.", 0

        def get(self, keys):
            self.calls += 1
            raise OSError("unreachable")

    cache = Cache(Broken())
    for _ in range(10):
        assert cache.get(["a"]) == {}
    assert cache.store.calls == 1
    allow_retry(cache)
    cache.get(["a"])
    assert cache.store.calls == 2


@needs_redis
def test_a_stopped_redis_is_a_miss_and_is_used_again_after_its_start(server, caplog):
    cache = Cache(RedisStore(server.url, 1))
    cache.put({"a": b"1"})
    server.stop()
    for _ in range(3):
        assert cache.get(["a"]) == {}
        cache.put({"b": b"1"})
        allow_retry(cache)
    server.start()
    cache.put({"c": b"3"})
    assert cache.get(["a", "b", "c"]) == {"c": b"3"} and not cache.retry_at
    (message,) = warnings(caplog)
    assert f"Start Redis at 127.0.0.1:{server.port}" in message
    server.stop()
    allow_retry(cache)
    cache.get(["a"])
    assert len(warnings(caplog)) == 2, "one warning for each outage"


@needs_redis
def test_a_redis_that_hangs_costs_one_timeout(server):
    cache = Cache(RedisStore(server.url, 1))
    cache.put({"a": b"1"})
    server.hang()
    started = time.monotonic()
    for _ in range(50):
        assert cache.get(["a"]) == {}
    assert time.monotonic() - started < 1.4, "one call timed out, the others were not made"
    server.go_on()
    allow_retry(cache)
    assert cache.get(["a"]) == {"a": b"1"}


@needs_redis
def test_an_entry_in_redis_expires_after_the_configured_days_without_a_read(server):
    store = RedisStore(server.url, days=2)
    cache = Cache(store)
    cache.put({"a": b"1"})
    (key,) = store.server.keys("*")
    assert key.startswith(b"raysift:") and 172_000 < store.server.ttl(key) <= 172_800
    store.server.expire(key, 60)
    cache.get(["a"])
    assert store.server.ttl(key) > 172_000


@needs_redis
def test_a_full_redis_is_a_miss(server, caplog):
    store = RedisStore(server.url, 1)
    cache = Cache(store)
    store.server.config_set("maxmemory", "1")
    cache.put({"a": b"1"})
    assert cache.get(["a"]) == {} and "maxmemory" in warnings(caplog)[0]


@needs_redis
def test_clearing_leaves_keys_of_other_programs_and_raises_if_redis_is_down(server):
    store = RedisStore(server.url, 1)
    cache = Cache(store)
    cache.put({"a": b"1"})
    store.server.set("others", "x")
    cache.clear()
    assert store.server.keys("*") == [b"others"]
    server.stop()
    with pytest.raises(SettingsError, match="the cache was not cleared"):
        cache.clear()


@needs_redis
def test_the_password_in_its_url_is_not_logged(caplog):
    with RedisServer("s3cr3t") as server:
        cache = Cache(RedisStore(server.url, 1))
        cache.put({"a": b"1"})
        assert cache.get(["a"]) == {"a": b"1"}
    allow_retry(cache)
    cache.get(["a"])
    assert len(warnings(caplog)) == 1 and "s3cr3t" not in caplog.text
