"""What may be read and written: a place outside of the roots is refused in every spelling."""

import pytest

from cluster.errors import SettingsError
from cluster.permissions import check_job
from cluster.settings import Scanning, Settings
from cluster.storage.filesystems import normalize
from cluster.storage.roots import OutsideRoots, Roots
from tests.support.listed import put


def allowed(root, *uris: str) -> list[str]:
    roots = Roots((str(root),))
    return [uri for uri in uris if roots.allow(uri)]


def test_every_spelling_of_a_place_under_a_local_root_is_allowed(tmp_path):
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


@pytest.mark.parametrize("uri", ["", "/data/\ud800", "file:///data/\udfff.jpg", "s3://bucket/\udcff", "file://"])
def test_an_empty_uri_and_invalid_characters_are_refused(uri):
    with pytest.raises(SettingsError):
        normalize(uri)


def test_no_encoding_of_a_key_leads_out_of_a_prefix():
    assert not allowed(
        "s3://bucket/case-1",
        *("s3://bucket/case-1/..%2fcase-2/a.jpg", "s3://bucket/case-1%2F..%2Fcase-2", "s3://bucket/case-1/x%2f..%2f.."),
        *(
            "s3://bucket/case-1/%252e%252e/case-2",
            "s3://bucket/case-1/%25252e./case-2",
            "s3://bucket/case-1/..%5ccase-2",
        ),
        *("s3://bucket/case-1/..\\case-2", "s3://bucket/case-1/a%2f.", "s3://bucket/case-1/..%252fcase-2"),
        f"s3://bucket/case-1/%{'25' * 100_000}2e%2e/case-2",
    )
    inside = ["s3://bucket/case-1/a%2fb.jpg", "s3://bucket/case-1/100%.jpg", "s3://bucket/case-1/a%252eb.jpg"]
    assert allowed("s3://bucket/case-1", *inside) == inside


@pytest.mark.parametrize("root", ["", "~", "~/media", "file://", "file://host/media", "/data/\0"])
def test_an_ambiguous_root_is_refused(root):
    for key in ("roots", "outs"):
        with pytest.raises(ValueError, match=r"Write|Correct"):
            Scanning(**{key: (root,)})


@pytest.mark.parametrize("uri", ["FILE:///data/a.jpg", "S3://bucket/case-1", "file://data/a.jpg", "file:///data/%00"])
def test_an_invalid_uri_is_refused(uri):
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


def test_roots_are_settings_of_the_machine_that_reads_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAYSIFT_SCANNING__ROOTS", '["media", "s3://bucket/cases/"]')
    scanning = Settings().scanning
    assert scanning.roots == ((tmp_path / "media").as_uri(), "s3://bucket/cases")
    assert scanning.outs == ()
    with pytest.raises(ValueError, match="the name of a bucket is missing"):
        Scanning(outs=("s3://",))
