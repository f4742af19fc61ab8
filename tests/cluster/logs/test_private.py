"""Secrets and names of files do not reach a log, whoever writes the line."""

import logging

import pytest

from cluster.logs.private import Private, masked


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("s3://evidence/case-7/a.jpg is gone", "s3://evidence/[path] is gone"),
        ("'gs://b/x/y z.jpg' and file:///data/x.jpg", "'gs://b/[path] z.jpg' and file:///[path]"),
        ("[Errno 2] No such file: '/data/case 7/a.jpg'", "[Errno 2] No such file: '/[path]'"),
        ("of '/data/o', \"/data/o'brien.jpg\" is gone", "of '/[path]', '/[path]' is gone"),
        ("key 'case-7/a b.jpg' in bucket 'evidence'", "key '[path]' in bucket 'evidence'"),
        ('File "/srv/raysift/cluster/cache.py", line 3', 'File "/srv/raysift/cluster/cache.py", line 3'),
        ("s3://found/case-7/_raysift/jobs/scan-1/queue.json", "s3://found/[path]/_raysift/jobs/scan-1/queue.json"),
        ("file:///data/case-7/0a1b2c_000000-0.parquet", "file:///[path]/0a1b2c_000000-0.parquet"),
        ("a key rs_0a1b2c_s3cr3t-x was shown", "a key [secret] was shown"),
        ("Authorization: Bearer s3cr3t", "Authorization: Bearer [secret]"),
        ("redis://redis:6379 and http://chroma:8001/api", "redis://redis:6379 and http://chroma:8001/api"),
    ],
)
def test_paths_and_secrets_are_masked_and_nothing_else(line, written):
    assert masked(line) == written


def test_arguments_and_tracebacks_are_masked_too():
    try:
        raise FileNotFoundError(2, "gone", "/data/case-7/a.jpg")
    except FileNotFoundError as error:
        record = logging.LogRecord("n", 40, "f", 1, "%s", ("s3://b/case-7/a.jpg",), (type(error), error, None))
    assert Private().filter(record)
    written = logging.Formatter().format(record)
    assert "case-7" not in written and "FileNotFoundError" in written
