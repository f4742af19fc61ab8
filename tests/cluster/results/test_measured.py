"""Stored measures of evaluations: the newest of each detector and model."""

from cluster.results.measured import FILE, FOLDER, Measure, Measured, forget, known, save


def measured(model: str, made_at: str, detector: str = "nsfw") -> Measured:
    recall = Measure(name="recall", value=0.9, low=0.7, high=0.97, hits=18, of=20)
    facts = {"label": "nude", "threshold": 0.5, "files_with": 20, "files_without": 30, "labels": "labels.jsonl"}
    return Measured(detector=detector, model=model, measures=(recall,), made_at=made_at, **facts)


def test_of_each_model_the_newest_evaluation_counts(tmp_path):
    old, new = tmp_path / FOLDER / "20260101-100000", tmp_path / FOLDER / "20260201-100000"
    save(old, [measured("m1", "January"), measured("m2", "January"), measured("m1", "January", "face")])
    save(new, [measured("m1", "February")])
    found = known(tmp_path, {("nsfw", "m1"), ("nsfw", "m2"), ("ocr", "m1")})
    assert {(one.model, one.made_at) for one in found} == {("m1", "February"), ("m2", "January")}
    assert found[0].measures[0].hits == 18


def test_an_unreadable_file_of_measures_is_skipped(tmp_path):
    save(tmp_path / FOLDER / "20260101-100000", [measured("m1", "January")])
    save(tmp_path / FOLDER / "20260201-100000", [])
    (tmp_path / FOLDER / "20260201-100000" / FILE).write_text("{")
    assert [one.made_at for one in known(tmp_path, {("nsfw", "m1")})] == ["January"]
    assert known(tmp_path / "nothing", {("nsfw", "m1")}) == []


def test_the_measures_of_a_person_are_removed_from_every_evaluation(tmp_path):
    face = [measured("m1", "January", "face").model_copy(update={"label": label}) for label in ("Ann", "Bob")]
    for time in ("20260101-100000", "20260201-100000"):
        save(tmp_path / FOLDER / time, [*face, measured("m1", "January")])
    assert (forget(tmp_path, "Ann"), forget(tmp_path, "Ann")) == (2, 0)
    assert "Ann" not in "".join(file.read_text() for file in tmp_path.rglob("*.json"))
    assert [one.label for one in known(tmp_path, {("face", "m1"), ("nsfw", "m1")})] == ["Bob", "nude"]
