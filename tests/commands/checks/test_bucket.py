"""The checks of results_uri; S3 is a stand-in."""

from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from cluster.settings import Settings
from commands.checks import bucket
from commands.checks.check import Check
from tests.commands.checks.stand_ins import words

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


class S3:
    """A bucket in memory. `faults`: method -> exception that it raises. `off_s`: how much its clock is behind."""

    def __init__(self, off_s=0, **faults):
        self.faults, self.kept, self.keys = faults, {}, []
        self.date = (NOW - timedelta(seconds=off_s)).strftime("%a, %d %b %Y %H:%M:%S GMT")

    def __getattr__(self, method):
        def call(Bucket, Key=None, Body=b"", **more):
            if fault := self.faults.get(method):
                raise fault
            if method == "put_object":
                self.kept[Key] = Body
                self.keys.append(Key)
            elif method == "delete_object":
                del self.kept[Key]
            elif method == "get_object":
                return {"Body": BytesIO(self.kept[Key])}
            return {"ResponseMetadata": {"HTTPHeaders": {"date": self.date}}}

        return call


def refusal(code, **headers):
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPHeaders": headers}}, "PutObject")


def stored(s3, uri="s3://b/results"):
    settings = Settings(results_uri=uri, s3_endpoint_url="http://s3:1")
    return list(bucket.results(settings, lambda endpoint, attempts: s3, lambda: NOW))


def test_a_bucket_is_written_to_below_the_folder_of_results_and_left_unchanged():
    s3 = S3()
    (report,) = stored(s3)
    assert report == Check(
        "results_uri", "ok", "s3://b/results at http://s3:1: an object was written, read and deleted"
    )
    (key,) = s3.keys
    assert key.startswith("results/_raysift/doctor-") and not s3.kept


@pytest.mark.parametrize(
    ("s3", "advice"),
    [
        (S3(list_objects_v2=NoCredentialsError()), "there are no S3 credentials. Set AWS_ACCESS_KEY_ID and"),
        (S3(list_objects_v2=refusal("NoSuchBucket")), "there is no bucket 'b' at http://s3:1. Check its name and"),
        (S3(list_objects_v2=refusal("SignatureDoesNotMatch")), "refuses the credentials (SignatureDoesNotMatch)."),
        (
            S3(put_object=refusal("AccessDenied")),
            "no object may be written there. Allow these credentials s3:",
        ),
        (S3(delete_object=refusal("AccessDenied")), "no object may be deleted there. Allow these credentials"),
        (S3(list_objects_v2=EndpointConnectionError(endpoint_url="x")), "Check s3_endpoint_url and the network."),
    ],
)
def test_a_bucket_that_cannot_be_used_is_reported_with_the_reason(s3, advice):
    assert advice in words(stored(s3), "fails")


def test_a_wrong_clock_is_reported_before_s3_refuses_it():
    assert "this machine's is 300 s ahead of the bucket's" in words(stored(S3(off_s=300)), "note")
    assert "S3 refuses more than 15 minutes. Have it set by NTP." in words(stored(S3(off_s=-1000)), "fails")
    skewed = refusal("RequestTimeTooSkewed", date=S3(off_s=2000).date)
    report = words(stored(S3(put_object=skewed, list_objects_v2=skewed)), "fails")
    assert "the clock of this machine is wrong" in report and "2000 s ahead of" in report


def test_a_folder_of_results_is_checked_and_not_created(tmp_path):
    (report,) = stored(None, str(tmp_path / "results"))
    assert report.state == "ok" and not (tmp_path / "results").exists()
    assert "ftp:// is not read here" in words(stored(None, "ftp://x"), "fails")
