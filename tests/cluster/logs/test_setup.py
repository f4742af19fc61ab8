"""The form of the logs, and the id that joins lines of one job."""

import io
import json
import logging
from logging.handlers import MemoryHandler

import pytest

from cluster.logs import setup
from cluster.logs.settings import Logs
from cluster.logs.setup import About


@pytest.fixture
def root(monkeypatch):
    """The root logger, as it was before at the end."""
    logger = logging.getLogger()
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "level", logger.level)
    monkeypatch.setattr(About, "job", "-")
    httpx = logging.getLogger("httpx")
    monkeypatch.setattr(httpx, "level", httpx.level)
    return logger


def written_by_driver(root, monkeypatch, **logs):
    err = io.StringIO()
    monkeypatch.setattr("sys.stderr", err)
    setup.driver(Logs(**logs))
    log = logging.getLogger("pipelines.test")
    log.info("listing %s", "s3://evidence/case-7/a.jpg")
    setup.about("scan-1")
    try:
        raise ValueError("odd")
    except ValueError:
        log.exception("it failed")
    return err.getvalue()


def test_a_driver_writes_json_with_its_job_in_each_line(root, monkeypatch):
    first, second = map(json.loads, written_by_driver(root, monkeypatch, format="json").splitlines())
    assert (first["levelname"], first["message"], first["request_id"]) == ("INFO", "listing s3://evidence/[path]", "-")
    assert second["request_id"] == "scan-1" and second["exc_text"].endswith("ValueError: odd")
    assert first["asctime"].endswith("Z") and first["logger"] == "pipelines.test"


def test_a_driver_writes_text_and_keeps_the_level(root, monkeypatch):
    text = written_by_driver(root, monkeypatch, level="ERROR")
    assert "listing" not in text and "ERROR scan-1 pipelines.test: it failed\nTraceback" in text


def test_a_deployments_lines_go_to_the_file_of_its_replica(monkeypatch):
    kept = MemoryHandler(100)
    serve = logging.getLogger("ray.serve")
    monkeypatch.setattr(serve, "handlers", [logging.StreamHandler(), kept])
    monkeypatch.setattr(serve, "level", logging.INFO)
    for name in setup.OURS:
        logger = logging.getLogger(name)
        for attribute in ("handlers", "propagate", "level"):
            monkeypatch.setattr(logger, attribute, getattr(logger, attribute))
    setup.join_serve()
    logging.getLogger("deployments.jobs.queue").info("of s3://evidence/case-7/a.jpg")
    logging.getLogger("deployments.jobs.queue").debug("less")
    logging.getLogger("another").warning("not ours")
    assert [record.getMessage() for record in kept.buffer] == ["of s3://evidence/[path]"]
    logging.getLogger("deployments").manager._clear_cache()


def test_outside_a_replica_the_loggers_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(logging.getLogger("ray.serve"), "handlers", [logging.StreamHandler()])
    setup.join_serve()
    assert all(logging.getLogger(name).propagate for name in setup.OURS)


@pytest.mark.parametrize(("format", "encoding"), [("json", "JSON"), ("text", "TEXT")])
def test_serve_takes_the_settings(format, encoding):
    from ray.serve.schema import LoggingConfig

    config = LoggingConfig(**setup.serve_config(Logs(format=format, level="WARNING"), "api"))
    assert (config.encoding, config.log_level) == (encoding, "WARNING")


def test_a_part_has_a_level_of_its_own(root, monkeypatch):
    logs = Logs(level="WARNING", levels={"driver": "INFO", "ocr": "DEBUG", "clip": "ERROR"})
    parts = ("ocr", "clip", "clip+ocr", "api")
    assert [setup.serve_config(logs, part)["log_level"] for part in parts] == ["DEBUG", "ERROR", "DEBUG", "WARNING"]
    assert "listing" in written_by_driver(root, monkeypatch, level="WARNING", levels={"driver": "INFO"})
