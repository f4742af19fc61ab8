"""A compaction in a bucket, which has no rename."""

import pytest

from cluster.results import compaction, layout
from cluster.results import files as results_files
from pipelines.results import compacting
from tests.support.stored import commit, found, row

OUT = "s3://compacted/found"


@pytest.fixture
def client(s3, monkeypatch):
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    client = s3.client()
    client.create_bucket(Bucket="compacted")
    return client


def test_results_in_a_bucket_are_compacted_and_what_they_replace_is_deleted(s3, client, tmp_path):
    for job in ("a", "b"):
        for n in range(3):
            rows = [row(f"s3://b/{n}", found("nsfw", "x", 0.5), job=job, unit=n, minutes=ord(job))]
            commit(tmp_path, "0.parquet", *rows)
            client.upload_file(str(tmp_path / "0.parquet"), "compacted", f"found/job={job}/{n}.parquet")
        client.put_object(Bucket="compacted", Key=f"found/_raysift/jobs/{job}/job.json", Body=b"{}")
    done = compacting.compact(OUT, lambda job: False, s3_endpoint=s3.endpoint)
    assert (done.replaced, done.written, done.rows, done.dropped) == (6, 1, 6, 3)
    (file,) = results_files.committed(OUT, s3.endpoint)
    assert results_files.read(file, ["job"], s3.endpoint)["job"].to_pylist() == ["b", "b", "b"]
    (recorded,) = results_files.of_job(OUT, "a", s3.endpoint)
    assert len(results_files.read(recorded, ["unit_id"], s3.endpoint)) == 3
    assert compaction.clean(OUT, s3.endpoint, grace_s=0.0, busy=lambda job: False) == 6
    left = [entry["Key"] for entry in client.list_objects_v2(Bucket="compacted", Prefix="found/")["Contents"]]
    assert not [key for key in left if "job=" in key] and f"found/{layout.MANIFEST}" in left
    assert results_files.committed(OUT, s3.endpoint) == [file]
