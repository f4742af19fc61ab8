"""`raysift logos` and `raysift restraints`: pictures are added all or none, and unusable files are listed."""

import shutil

import pytest
from PIL import Image
from typer.testing import CliRunner

from cluster.errors import SettingsError
from commands.galleries import commands


@pytest.fixture(params=[("logo", "logos"), ("restraint", "restraints")])
def raysift(request, tmp_path, monkeypatch):
    """The command line of one detector's gallery, with its state under tmp_path."""
    monkeypatch.setenv("RAYSIFT_STATE_DIR", str(tmp_path))
    run = lambda *arguments: CliRunner().invoke(commands(*request.param), arguments)  # noqa: E731
    run.folder = tmp_path / "galleries" / request.param[0]
    return run


@pytest.fixture
def red(tmp_path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    return str(tmp_path / "red.png")


@pytest.fixture
def truncated(tmp_path):
    Image.effect_noise((40, 30), 90).save(tmp_path / "whole.png")
    (tmp_path / "truncated.png").write_bytes((tmp_path / "whole.png").read_bytes()[:-300])
    return str(tmp_path / "truncated.png")


def test_pictures_are_added_listed_and_removed(raysift, red):
    assert "1 added" in raysift("add", "Acme", red).output
    assert "Acme" in raysift("list").output
    assert "1 removed" in raysift("remove", "Acme").output
    assert "the gallery is empty" in raysift("list").output


def test_one_broken_picture_among_several_leaves_the_gallery_unchanged(raysift, red, truncated):
    failed = raysift("add", "Acme", red, truncated)
    assert isinstance(failed.exception, SettingsError)
    assert "truncated.png cannot be read as a picture" in str(failed.exception)
    assert not raysift.folder.exists()


def test_the_list_marks_unusable_files_with_the_reason(raysift, red, truncated):
    raysift("add", "Acme", red)
    shutil.copy(truncated, raysift.folder / "Acme" / "cut.png")
    (raysift.folder / "Acme" / "old").mkdir()
    (raysift.folder / "loose.png").write_bytes(b"")
    listed = raysift("list").output
    assert [row for row in listed.splitlines() if "Acme" in row and "1" in row and row.count("1") == 2]
    for sentence in (
        "not used: Acme/cut.png is damaged",
        "not used: Acme/old is a sub-folder",
        "not used: loose.png lies beside the names",
    ):
        assert sentence in listed
