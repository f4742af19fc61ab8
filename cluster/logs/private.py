"""Keeps secrets and the names of files out of log lines, whoever writes them."""

import logging
import re

# the scheme and the bucket stay: an operator needs them, and they are in the settings
_URI = re.compile(r"\b(s3://[^/\s'\"]+|gs://[^/\s'\"]+|file://)(/[^\s'\"]*)")
_KEY = re.compile(r"\bkey '[^\n]*?'(?= in bucket)")  # as Arrow words errors of buckets
_OURS = re.compile(r"/_raysift/.*|/[\w-]+\.parquet$")  # the end of a path that Raysift has made: pages of jobs, results
# as Python quotes the file of an OSError, with double quotes if it has an apostrophe; `File "..."` is of a traceback
_PATH = re.compile(r"""'/[^'\n]+'|(?<!File )"/[^"\n]*'[^"\n]*\"""")
_SECRET = re.compile(r"\brs_\w+_[\w-]+|(?<=Bearer )[^\s'\"]+")


def masked(text: str) -> str:
    """The text without keys, and without the paths of files in URIs and errors. A name with a space is cut at it.

    What Raysift itself has named, pages of jobs and files of results, keeps that part of its path.
    """
    return _SECRET.sub("[secret]", _KEY.sub("key '[path]'", _PATH.sub("'/[path]'", _URI.sub(_masked_uri, text))))


def _masked_uri(uri: re.Match[str]) -> str:
    ours = _OURS.search(uri[2])
    return f"{uri[1]}/[path]{ours[0] if ours else ''}"


class Private(logging.Filter):
    """A filter of handlers that masks each message and traceback. It drops none."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the record's text. Always true."""
        record.msg, record.args = masked(record.getMessage()), ()
        if record.exc_info and record.exc_info[0] and not record.exc_text:
            record.exc_text = masked(logging.Formatter().formatException(record.exc_info))
        return True
