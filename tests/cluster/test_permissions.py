"""What a job may read and write by the settings, and what the operator's proof adds to it."""

import pytest

from cluster.permissions import check_job, job_settings, limited, operator_secret, prove, proved
from cluster.settings import Scanning, Settings
from cluster.storage.roots import OutsideRoots, Roots
from tests.support.listed import put


def test_results_go_to_the_settings_folder_and_under_outs(tmp_path):
    settings = Settings(state_dir=tmp_path / "state", scanning=Scanning(roots=("/data",), outs=("s3://b/found",)))
    for out in (settings.results, f"{settings.results}/mine", "s3://b/found/x"):
        check_job(settings, ["file:///data/a"], out)
    for out in ("file:///data/a", f"{settings.results}/../jobs.sqlite", "s3://b/found-2", "/etc"):
        with pytest.raises(OutsideRoots, match="may not be written"):
            check_job(settings, ["file:///data/a"], out)


@pytest.fixture
def operator(tmp_path, monkeypatch):
    """The settings of a machine whose Ray token this process may read."""
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    put(tmp_path / "ray_token", b"a secret\n")
    return Settings(state_dir=tmp_path)


def test_the_operator_allows_the_uris_of_one_job_and_nothing_else(operator):
    uris, out = ["file:///cases/1", "s3://b/2"], "file:///found"
    proof = prove(operator, uris, out)
    assert len(proof) == 64 and proof == prove(operator, ["/cases/1/", "s3://b/2/"], "/found")
    job = job_settings(operator, uris, out, proof)
    assert job.scanning.roots == tuple(uris) and job.scanning.outs == (out,)
    check_job(job, uris, out)
    for other in (["file:///cases"], uris[:1], uris[::-1], []):
        assert job_settings(operator, other, out, proof) == operator
    assert job_settings(operator, uris, "file:///etc", proof) == operator
    for wrong in ("", "0" * 64, proof[:-1], proof.upper(), "\udcff"):
        assert not proved(operator, uris, out, wrong)


def test_without_the_token_or_with_another_nothing_is_proved(operator, tmp_path, monkeypatch):
    uris, out = ["file:///cases/1"], None
    proof = prove(operator, uris, out)
    put(tmp_path / "other" / "ray_token", b"another")
    assert not proved(Settings(state_dir=tmp_path / "other"), uris, out, proof)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    stranger = Settings(state_dir=tmp_path / "empty")
    assert operator_secret(stranger) == b"" and prove(stranger, uris, out) == ""
    assert not proved(stranger, uris, out, "") and not proved(stranger, uris, out, proof)
    put(tmp_path / "empty" / "ray_token", b"\n")  # an empty token counts as none: anyone could make its proof
    assert operator_secret(stranger) == b"" == prove(stranger, uris, out).encode()


def test_the_token_is_read_from_where_ray_reads_it(operator, tmp_path, monkeypatch):
    assert operator_secret(operator) == b"a secret"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(put(tmp_path / "elsewhere", b"of the cluster")))
    assert operator_secret(operator) == b"of the cluster"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    assert operator_secret(operator) == b"given"


def test_a_limited_caller_reads_only_what_lies_under_the_roots_and_its_folders(tmp_path):
    for case in ("case-7", "case-8"):
        (tmp_path / "data" / case).mkdir(parents=True)
    (tmp_path / "data" / "case-7" / "x").symlink_to(tmp_path / "data" / "case-8")
    data = (tmp_path / "data").as_uri()
    settings = Settings(scanning=Scanning(roots=(data, "s3://evidence/a")))
    mine = limited(settings, (f"{data}/case-7", "s3://evidence"))
    assert set(mine.scanning.roots) == {f"{data}/case-7", "s3://evidence/a"}
    roots = Roots(mine.scanning.roots)
    assert roots.allow(f"{data}/case-7/a.jpg") and not roots.allow(f"{data}/case-7/x/a.jpg")
    assert not roots.allow(f"{data}/case-8/a.jpg") and not roots.allow("s3://evidence/b/c.jpg")
    assert limited(settings, None) == settings and limited(settings, ()).scanning.roots == ()
