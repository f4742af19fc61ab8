"""What may be read and written: every spelling of a place that does not lie under a root is refused."""

import pytest

from cluster.errors import SettingsError
from cluster.settings import Scanning, Settings
from cluster.storage.roots import OutsideRoots, Roots, check_job, job_settings, operator_secret, prove, proved
from tests.support.listed import put


def allowed(root, *uris: str) -> list[str]:
    roots = Roots((str(root),))
    return [uri for uri in uris if roots.allow(uri)]


def test_what_lies_under_a_local_root_is_allowed_however_it_is_spelled(tmp_path):
    put(tmp_path / "data" / "a b.jpg")
    (tmp_path / "data" / "here.jpg").symlink_to("a b.jpg")
    (tmp_path / "alias").symlink_to(tmp_path / "data")
    data, uri = tmp_path / "data", (tmp_path / "data").as_uri()
    inside = [
        *(str(data), uri, f"{uri}/", f"{uri}/a b.jpg", f"{uri}/a%20b.jpg", f"{uri}//a b.jpg", f"{uri}/./a b.jpg"),
        *(f"{uri}/x/../a b.jpg", f"{tmp_path.as_uri()}/alias/a b.jpg", f"{uri}/here.jpg", f"{uri}/not/there.jpg"),
    ]
    assert allowed(data, *inside) == inside
    assert allowed(tmp_path / "alias", *inside) == inside, "the root itself may be a link"
    assert allowed("/", *inside) == inside
    assert allowed(data / "a b.jpg", f"{uri}/a b.jpg", uri) == [f"{uri}/a b.jpg"], "a root may be one file"


def test_no_spelling_leads_out_of_a_local_root(tmp_path):
    put(tmp_path / "data" / "deep" / "a.jpg")
    put(tmp_path / "database" / "a.jpg")
    put(tmp_path / "secret.txt")
    data, uri, above = tmp_path / "data", (tmp_path / "data").as_uri(), tmp_path.as_uri()
    (data / "file.jpg").symlink_to("../secret.txt")
    (data / "absolute.jpg").symlink_to(tmp_path / "secret.txt")
    (data / "chain.jpg").symlink_to("file.jpg")
    (data / "folder").symlink_to("..")
    (data / "loop.jpg").symlink_to("loop.jpg")
    (data / "root").symlink_to("/")
    assert not allowed(
        data,
        *(above, f"{above}/database", f"{above}/database/a.jpg", f"{above}/secret.txt", "/", "file:///", "/etc/passwd"),
        *(f"{uri}/..", f"{uri}/../secret.txt", f"{uri}/deep/../../secret.txt", f"{uri}/%2e%2e/secret.txt"),
        *(f"{uri}/%2E./secret.txt", f"{uri}/..%2fsecret.txt", f"{uri}%2f..%2fsecret.txt", f"{uri}/.//../secret.txt"),
        *(f"{uri}/file.jpg", f"{uri}/absolute.jpg", f"{uri}/chain.jpg", f"{uri}/folder/secret.txt", f"{uri}/root/etc"),
        *(f"{uri}/folder/data/../secret.txt", f"{data}/../secret.txt", "file:////etc/passwd", "//etc/passwd"),
        *("/proc/self/root/etc/passwd", f"{uri} /a.jpg", "s3://data", f"s3:/{data}", "s3://deep/a.jpg"),
    )


@pytest.mark.parametrize("uri", ["FILE:///data/a.jpg", "S3://bucket/case-1", "file://data/a.jpg", "file:///data/%00"])
def test_what_is_no_uri_is_refused_with_a_sentence(uri):
    with pytest.raises(SettingsError):
        Roots(("/data", "s3://bucket")).check(uri)


def test_a_prefix_of_a_bucket_ends_at_a_slash():
    root = "s3://bucket/case-1/"
    inside = ["s3://bucket/case-1", "s3://bucket/case-1/", "s3://bucket/case-1/a.jpg", "s3://bucket/case-1//a.jpg"]
    inside += ["s3://bucket/case-1/a..b.jpg", "s3://bucket/case-1/%41.jpg"]
    assert allowed(root, *inside) == inside
    assert not allowed(
        root,
        *("s3://bucket", "s3://bucket/", "s3://bucket/case-10", "s3://bucket/case-10/a.jpg", "s3://bucket-2/case-1"),
        *("s3://bucket/case-1/../case-2/a.jpg", "s3://bucket/case-1/..", "s3://bucket/case-1/./../a.jpg"),
        *("s3://bucket/case-1/%2e%2e/case-2/a.jpg", "s3://bucket/case-1/%2E%2e", "s3://bucket/Case-1/a.jpg"),
        *("s3://bucket//case-1/a.jpg", "s3:///bucket/case-1/a.jpg", "gs://bucket/case-1/a.jpg", "s3://BUCKET/case-1"),
        *("s3://bucket%2fcase-1/a.jpg", "s3://user@bucket/case-1/a.jpg", "/bucket/case-1/a.jpg"),
    )


def test_without_roots_nothing_may_be_read_and_the_message_names_the_setting():
    with pytest.raises(OutsideRoots) as refused:
        Roots(()).check("file:///etc/passwd")
    for words in (
        "file:///etc/passwd may not be read",
        "there are none yet",
        "settings.yaml",
        "RAYSIFT_SCANNING__ROOTS",
    ):
        assert words in str(refused.value)
    with pytest.raises(OutsideRoots, match=r"s3://b/out may not be written.*scanning.outs"):
        check_job(Settings(scanning=Scanning(roots=("/data",))), ["file:///data/a"], "s3://b/out")


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


def test_who_holds_no_token_or_another_proves_nothing(operator, tmp_path, monkeypatch):
    uris, out = ["file:///cases/1"], None
    proof = prove(operator, uris, out)
    put(tmp_path / "other" / "ray_token", b"another")
    assert not proved(Settings(state_dir=tmp_path / "other"), uris, out, proof)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    stranger = Settings(state_dir=tmp_path / "empty")
    assert operator_secret(stranger) == b"" and prove(stranger, uris, out) == ""
    assert not proved(stranger, uris, out, "") and not proved(stranger, uris, out, proof)
    put(tmp_path / "empty" / "ray_token", b"\n")  # an empty token is none, or its proof could be made by anyone
    assert operator_secret(stranger) == b"" == prove(stranger, uris, out).encode()


def test_the_token_is_found_where_ray_finds_it(operator, tmp_path, monkeypatch):
    assert operator_secret(operator) == b"a secret"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(put(tmp_path / "elsewhere", b"of the cluster")))
    assert operator_secret(operator) == b"of the cluster"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    assert operator_secret(operator) == b"given"


def test_roots_are_settings_of_the_machine_that_reads_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAYSIFT_SCANNING__ROOTS", '["media", "s3://bucket/cases/"]')
    scanning = Settings().scanning
    assert scanning.roots == ((tmp_path / "media").as_uri(), "s3://bucket/cases")
    assert scanning.outs == ()
    with pytest.raises(ValueError, match="the name of a bucket is missing"):
        Scanning(outs=("s3://",))
