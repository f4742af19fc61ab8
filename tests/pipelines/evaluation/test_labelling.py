"""Labels: every kind of statement is read, and a line that is wrong is named."""

import re

import pytest

from cluster.errors import SettingsError
from pipelines.evaluation import labelling
from tests.support.judging import labels, said
from tests.support.paths import ROOT


def test_reads_every_kind_of_statement_and_paths_from_where_the_labels_lie(tmp_path):
    path = labels(
        tmp_path,
        {"uri": "a b.jpg", "labels": {"nsfw": {"nsfw": False}, "face": {"face": ["Ada", "Grace"]}}},
        "",
        {"uri": "s3://b/c.mp4", "labels": {"face": {"face": 2}, "ocr": {"text": ""}, "clip": {"*": True}}},
    )
    first, second = labelling.read(path)
    assert first.uri == (tmp_path / "a b.jpg").as_uri() and (first.line, second.line) == (1, 3)
    assert first.labels == {"nsfw": {"nsfw": False}, "face": {"face": ("Ada", "Grace")}}
    assert second.labels == {"face": {"face": 2}, "ocr": {"text": ""}, "clip": {"*": True}}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 2: it is not JSON"),
        ("[1]", "line 2: only"),
        ({"uri": "a", "labels": {"ocr": {"text": ""}}, "lables": 1}, "line 2: .*'lables'"),
        ({"uri": "a"}, "line 2: it needs"),
        (
            {"uri": "a", "labels": {"nsfww": {"nsfw": True}}},
            "line 2: there is no detector 'nsfww'; there are barcode, clip",
        ),
        ({"uri": "a", "labels": {"nsfw": True}}, "line 2: 'nsfw' needs its labels"),
        ({"uri": "a", "labels": {"nsfw": {"nsfw": None}}}, "line 2: nsfw.nsfw is null. Say true or false"),
        ({"uri": "a", "labels": {"nsfw": {"nsfw": 0.5}}}, "line 2: nsfw.nsfw is 0.5"),
        ({"uri": "a", "labels": {"face": {"face": -1}}}, "line 2: face.face is -1"),
        ({"uri": "a", "labels": {"face": {"face": []}}}, r"line 2: face.face is \[\]"),
        ({"uri": "a", "labels": {"face": {"face": ["Ada", "Ada"]}}}, "line 2: face.face: a person is named twice"),
        ({"uri": "a", "labels": {"face": {"*": 3}}}, "line 2: face: .* say true or false"),
        (said("x.jpg", ocr={"text": ""}), "line 2: s3://b/x.jpg stands in line 1 too"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path, line, complaint):
    with pytest.raises(SettingsError, match=complaint):
        labelling.read(labels(tmp_path, said("x.jpg", ocr={"text": ""}), line))


def test_the_lines_of_the_documentation_are_read(tmp_path):
    (block,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "evaluating.md").read_text(), re.DOTALL)
    assert len(labelling.read(labels(tmp_path, block))) == len(block.splitlines())


def test_an_unreadable_file_of_labels_is_a_settings_error(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "picture.jsonl").write_bytes(b"\xff\xd8\xff")
    for name, complaint in (("none.jsonl", "No such file"), ("empty.jsonl", "is empty"), ("picture.jsonl", "UTF-8")):
        with pytest.raises(SettingsError, match=complaint):
            labelling.read(tmp_path / name)


def test_a_missing_file_is_named_with_its_line(tmp_path):
    (tmp_path / "there.jpg").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "in.jpg").touch()
    of = {"nsfw": {"nsfw": False}}
    path = labels(tmp_path, {"uri": "there.jpg", "labels": of}, {"uri": "gone.jpg", "labels": of})
    with pytest.raises(SettingsError, match=r"line 2: .*gone\.jpg does not exist"):
        labelling.check_there(path, labelling.read(path), None)
    path = labels(tmp_path, {"uri": "folder", "labels": of})
    with pytest.raises(SettingsError, match=r"line 1: .*folder is a folder"):
        labelling.check_there(path, labelling.read(path), None)
