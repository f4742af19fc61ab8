"""Stored results judged by labels: what counts as found, and how texts, numbers and people are compared."""

from cluster.records import Vector
from pipelines.evaluation import answers
from tests.support.judging import judged, said
from tests.support.stored import commit, found, row


def test_a_file_counts_by_its_best_detection_of_the_label(tmp_path):
    commit(
        tmp_path,
        "a.parquet",
        row("s3://b/yes.jpg", found("nsfw", "nsfw", 0.3), found("nsfw", "nsfw", 0.7), found("nsfw", "nsfw low", 0.9)),
        row("s3://b/missed.jpg", answered=["nsfw"]),
        row("s3://b/no.jpg", found("nsfw", "nsfw", 0.2)),
    )
    lines = [said(f"{name}.jpg", nsfw={"nsfw": name != "no"}) for name in ("yes", "missed", "no")]
    (one,) = judged(tmp_path, *lines, thresholds={"nsfw": 0.7}).judged
    of = one.presence
    assert (of.tp, of.fn, of.fp, of.tn) == (1, 1, 0, 1), "0.7 in single precision is not below 0.7"
    (missed,) = one.false_negatives
    assert (missed.uri, missed.score, missed.said) == ("s3://b/missed.jpg", None, "nothing was found")
    (lower,) = judged(tmp_path, *lines).judged
    assert lower.presence.fp == 1 and lower.false_positives[0].score == 0.2


def test_a_file_without_a_label_is_not_counted_for_that_detector(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/a.jpg", found("nsfw", "nsfw", 0.9), found("ocr", "text", 0.9, text="x")))
    (one,) = judged(tmp_path, said("a.jpg", ocr={"text": True})).judged
    assert (one.detector, one.presence.positives, one.presence.negatives) == ("ocr", 1, 0)


def test_files_that_were_not_analysed_are_left_out_with_a_reason(tmp_path):
    commit(
        tmp_path,
        "a.parquet",
        row("s3://b/broken.jpg", kind=None, failures=[("decode", "it is damaged")], answered=["nsfw"]),
        row("s3://b/tired.jpg", failures=[("nsfw", "the detector did not answer")], unit=1),
        row("s3://b/sound.wav", kind="audio", answered=["nsfw"], unit=2),
        row("s3://b/ok.jpg", answered=["nsfw"], unit=3),
        row("s3://b/skipped.jpg", answered=["ocr"], unit=4),
    )
    files = ("broken.jpg", "tired.jpg", "sound.wav", "ok.jpg", "skipped.jpg", "unknown.jpg")
    of = judged(tmp_path, *(said(name, nsfw={"nsfw": False}) for name in files))
    assert of.judged[0].presence.negatives == 1
    assert {left.uris[0].removeprefix("s3://b/"): left.why for left in of.left_out} == {
        "broken.jpg": "it could not be read: it is damaged",
        "tired.jpg": "the detector did not answer",
        "sound.wav": "it has no content that this detector analyses",
        "skipped.jpg": "the detector did not run: it is disabled, or the scan left it out",
        "unknown.jpg": "it is not in the results",
    }


def test_the_newest_answer_counts_and_only_of_the_newest_content(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/a.jpg", found("ocr", "text", 0.9, "old", text="old"), minutes=1))
    commit(tmp_path, "b.parquet", row("s3://b/a.jpg", found("ocr", "text", 0.8, "new", text="new"), minutes=2))
    commit(tmp_path, "c.parquet", row("s3://b/a.jpg", found("nsfw", "nsfw", 0.5), minutes=3))
    commit(tmp_path, "d.parquet", row("s3://b/a.jpg", found("face", "face", 0.5), etag="e0", minutes=0))
    of = answers.stored(str(tmp_path), ["s3://b/a.jpg"])["s3://b/a.jpg"]
    assert of.models == {"ocr": "new", "nsfw": "m1"}
    assert [one["text"] for one in of.detections["ocr"]] == ["new"]


def test_a_star_matches_any_label_of_the_detector(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/a.jpg", found("clip", "cup", 0.5), found("clip", "dog", 0.9)))
    (one,) = judged(tmp_path, said("a.jpg", clip={"*": False})).judged
    assert one.false_positives[0].score == 0.9 and one.note == ""


def test_a_label_without_detections_is_noted(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/a.jpg", found("clip", "tabby", 0.5)))
    (one,) = judged(tmp_path, said("a.jpg", clip={"cat": True})).judged
    assert "No detection here is labelled “cat”" in one.note and "tabby" in one.note


def test_texts_are_compared_in_stored_order(tmp_path):
    commit(
        tmp_path,
        "a.parquet",
        row("s3://b/a.png", found("ocr", "text", 0.9, text="BREAKING"), found("ocr", "text", 0.9, text="NEVS")),
        row("s3://b/none.png", found("ocr", "text", 0.6, text="||"), unit=1),
    )
    lines = [said("a.png", ocr={"text": "BREAKING NEWS"}), said("none.png", ocr={"text": ""})]
    (one,) = judged(tmp_path, *lines).judged
    assert one.unit == "characters" and (one.error_rate.hits, one.error_rate.of) == (1, 13)
    assert (one.invented.hits, one.invented.of) == (1, 1)
    assert (one.presence.tp, one.presence.fp) == (1, 1), "a text that is not empty counts as present"
    assert [text.uri for text in one.texts] == ["s3://b/a.png", "s3://b/none.png"]


def test_a_line_repeated_in_a_video_counts_once(tmp_path):
    lines = [found("ocr", "text", 0.9, text=text, time_s=at) for at in (0.0, 1.0) for text in ("LIVE", "NOW")]
    commit(tmp_path, "a.parquet", row("s3://b/a.mp4", *lines, kind="video"))
    (one,) = judged(tmp_path, said("a.mp4", ocr={"text": "LIVE NOW"})).judged
    assert one.error_rate.value == 0


def test_speech_is_compared_by_words(tmp_path):
    heard = [
        found("whisper", "speech", 0.9, span=(0.0, 1.0), text="One, two."),
        found("whisper", "speech", 0.9, text="Four"),
    ]
    commit(tmp_path, "a.parquet", row("s3://b/a.wav", *heard, kind="audio"))
    (one,) = judged(tmp_path, said("a.wav", whisper={"speech": "one two three four"})).judged
    assert one.unit == "words" and (one.error_rate.hits, one.error_rate.of) == (1, 4)


def test_objects_are_counted_in_the_frame_with_most_of_them(tmp_path):
    faces = [found("face", "face", 0.95, time_s=at) for at in (0.0, 1.0, 1.0, 2.0)]
    commit(tmp_path, "a.parquet", row("s3://b/a.mp4", *faces, kind="video"), row("s3://b/b.jpg", *faces[:1], unit=1))
    (one,) = judged(tmp_path, said("a.mp4", face={"face": 2}), said("b.jpg", face={"face": ["Ada", "Grace"]})).judged
    assert (one.counts.exact.hits, one.counts.exact.of, one.counts.missed) == (1, 2, 1)
    assert one.miscounted[0].said == "2 labelled, 1 found"


def test_people_are_compared_by_the_nearest_faces_of_two_files(tmp_path):
    def face(*at: float):
        return found("face", "face", 0.99, vectors=(Vector("faces", at),))

    commit(
        tmp_path,
        "a.parquet",
        row("s3://b/ada.jpg", face(0.0, 0.0)),
        row("s3://b/both.jpg", face(0.25, 0.0), face(1.0, 0.0), unit=1),
        row("s3://b/grace.jpg", face(1.0, 0.5), unit=2),
        row("s3://b/back.jpg", answered=["face"], unit=3),
    )
    people = {"ada": ["Ada"], "both": ["Ada", "Grace"], "grace": ["Grace"], "back": ["Ada"]}
    (one,) = judged(tmp_path, *(said(f"{name}.jpg", face={"face": who}) for name, who in people.items())).judged
    of = one.verification
    assert (of.same, of.different, one.faceless) == (2, 1, 1)
    assert of.best.accuracy.value == 1 and 0.5 <= of.best.distance < 1.118
    assert of.in_use is None, "the model m1 and its distance are unknown"


def test_profile_floor_and_distance_follow_from_the_model(tmp_path):
    from deployments.detectors.face import FaceConfig

    model = f"{FaceConfig().model} gallery:01234567"
    faces = [found("face", "face", 0.99, model, vectors=(Vector("faces", (float(n), 0.0)),)) for n in range(2)]
    commit(tmp_path, "a.parquet", *(row(f"s3://b/{n}.jpg", face, unit=n) for n, face in enumerate(faces)))
    (one,) = judged(tmp_path, *(said(f"{n}.jpg", face={"face": [str(n)]}) for n in range(2))).judged
    assert (one.models, one.profiles, one.floor) == ((model,), ("embedded",), FaceConfig().floor)
    assert one.verification.in_use.distance == FaceConfig().distance
