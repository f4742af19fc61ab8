"""Sets up the logs of a process: of a deployment, whose lines go where Serve's own go, or of a job's driver."""

import json
import logging
from logging.handlers import MemoryHandler
from typing import Any

from cluster.logs.private import Private
from cluster.logs.settings import Logs
from cluster.records import iso_time

OURS = ("cluster", "deployments", "pipelines")  # the loggers of our modules begin with these
TEXT = "%(asctime)s %(levelname)s %(request_id)s %(name)s: %(message)s"


def serve_config(logs: Logs, part: str) -> dict[str, Any]:
    """The option `logging_config` of the Serve deployment of that name."""
    return {"encoding": logs.format.upper(), "log_level": logs.of(part)}


def join_serve() -> None:
    """Send our lines of this process to the file of its Serve replica, with the id of the request, as Serve's own.

    Outside a replica nothing is changed. Without it, only warnings would be kept, as plain text without an id.
    """
    serve = logging.getLogger("ray.serve")
    handlers = [handler for handler in serve.handlers if isinstance(handler, MemoryHandler)]  # Serve's, of a file
    for handler in handlers:
        handler.addFilter(Private())
    for name in OURS if handlers else ():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [*handlers], False
        logger.setLevel(serve.level)


class About(logging.Filter):
    """Gives each record of a driver the job that it works on, under the name that Serve has for ids."""

    job = "-"

    def filter(self, record: logging.LogRecord) -> bool:
        """Set `request_id`. Always true."""
        record.request_id = About.job
        return True


class Json(logging.Formatter):
    """One JSON object a line, with the keys of Serve's JSON logs."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        entry = {
            "asctime": iso_time(record.created),
            "levelname": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": getattr(record, "request_id", "-"),
        }
        if record.exc_text or record.exc_info:
            entry["exc_text"] = record.exc_text or self.formatException(record.exc_info)  # type: ignore[arg-type]
        return json.dumps(entry, ensure_ascii=False)


def driver(logs: Logs) -> None:
    """Log to this process's standard error, which Ray keeps as the log of the driver."""
    handler = logging.StreamHandler()
    handler.setFormatter(Json() if logs.format == "json" else logging.Formatter(TEXT))
    handler.addFilter(About())
    handler.addFilter(Private())
    logging.basicConfig(level=logs.of("driver"), handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request to Chroma


def about(job: str) -> None:
    """Note that this driver works on a job from now on."""
    About.job = job
