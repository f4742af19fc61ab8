"""The check of results_uri: writes, reads and deletes an object there."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from cluster.errors import SettingsError
from cluster.settings import Settings
from cluster.storage.filesystems import filesystem, local_path, s3_client, s3_complaint, split
from commands.checks.check import Check, State
from commands.checks.machine import disk

CONTENT = b"written by raysift doctor, which deletes it again"
SKEW_S = 900  # S3 refuses requests if the clocks differ by more
RIGHTS = "s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject"


def results(
    settings: Settings,
    client: Callable[[str | None, int], Any] = s3_client,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[Check]:
    """Write, read and delete a small object; for a local folder, check only disk and permissions."""
    uri = settings.results
    try:
        scheme, place = split(uri)
        if scheme == "file":
            yield disk("results_uri", Path(local_path(uri)))
        elif scheme == "s3":
            yield from _s3(uri, place, client(settings.s3_endpoint, 1), settings.s3_endpoint, now)
        else:
            yield _other(uri)
    except SettingsError as error:
        yield Check("results_uri", "fails", str(error))


def _s3(uri: str, place: str, s3: Any, endpoint: str | None, now: Callable[[], datetime]) -> Iterator[Check]:
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, prefix = place.partition("/")
    key = "/".join(filter(None, [prefix, "_raysift", f"doctor-{uuid4().hex}.txt"]))
    doing = "listed"
    try:
        # this also finds that a bucket is missing, which some servers would create at a write
        answer = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        doing = "written"
        s3.put_object(Bucket=bucket, Key=key, Body=CONTENT)
        doing = "read"
        content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        doing = "deleted"
        s3.delete_object(Bucket=bucket, Key=key)
    except (BotoCoreError, ClientError) as error:
        yield Check("results_uri", "fails", _complaint(error, doing, uri, endpoint))
        answer = getattr(error, "response", {})
    else:
        same = content == CONTENT
        message = (
            "an object was written, read and deleted" if same else "an object was read with other bytes than written"
        )
        yield Check("results_uri", "ok" if same else "fails", f"{uri} at {endpoint or 'Amazon S3'}: {message}")
    yield from _clock(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date"), now())


def _complaint(error: Exception, doing: str, uri: str, endpoint: str | None) -> str:
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    bucket = uri.removeprefix("s3://").partition("/")[0]
    if code in ("AccessDenied", "AllAccessDisabled", "403"):
        return f"{uri}: no object may be {doing} there. Allow these credentials {RIGHTS} on {bucket!r}."
    if code == "RequestTimeTooSkewed":
        return f"{uri}: the clock of this machine is wrong. Have it set by NTP."
    if code == "NoSuchBucket":
        return f"{s3_complaint(error, uri, endpoint)} Or create it."
    return s3_complaint(error, uri, endpoint)


def _clock(date: str | None, now: datetime) -> Iterator[Check]:
    if date is None:
        return
    off_s = (now - parsedate_to_datetime(date)).total_seconds()
    if abs(off_s) > SKEW_S / 15:  # the header has whole seconds, and the answer may take some
        message = f"this machine's is {abs(off_s):.0f} s {'ahead of' if off_s > 0 else 'behind'} the bucket's"
        state: State = "fails" if abs(off_s) > SKEW_S else "note"
        yield Check("clock", state, f"{message}; S3 refuses more than {SKEW_S // 60} minutes. Have it set by NTP.")


def _other(uri: str) -> Check:
    store, path = filesystem(uri)
    key = f"{path}/_raysift/doctor-{uuid4().hex}.txt"
    try:
        with store.open_output_stream(key) as sink:
            sink.write(CONTENT)
        with store.open_input_stream(key) as source:
            source.read()
        store.delete_file(key)
    except OSError as error:
        advice = "Check its name, the credentials' permissions to write and delete there, and the network."
        return Check("results_uri", "fails", f"{uri} cannot be written to: {str(error)[:200]}. {advice}")
    return Check("results_uri", "ok", f"{uri}: an object was written, read and deleted")
