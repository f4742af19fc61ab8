"""Labels in, judgement out: what is read of people and of detectors, how they are held together, what is shown."""

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from PIL import Image
from typer.testing import CliRunner

import raysift
from cluster.errors import SettingsError
from cluster.records import Vector
from pipelines.evaluation import answers, evaluating, labelling, report
from pipelines.evaluation.verdicts import plain
from tests.support.cluster import Cluster
from tests.support.paths import ROOT
from tests.support.stored import commit, found, row


def labels(folder: Path, *lines: object) -> Path:
    path = folder / "labels.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def said(uri: str, **statements: object) -> dict[str, object]:
    return {"uri": f"s3://b/{uri}", "labels": statements}


def judged(folder: Path, *lines: object, thresholds: dict[str, float] | None = None, base_rate: float | None = None):
    """The evaluation of what is committed under the folder."""
    told = labelling.read(labels(folder, *lines))
    of = answers.stored(str(folder), [one.uri for one in told])
    facts = {"made_at": "now", "labels": "labels.jsonl", "results": "here"}
    return evaluating.evaluate(told, of, thresholds or {}, base_rate, {}, **facts)


# ---- labels


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
        ({"uri": "a", "labels": {"nsfww": {"nsfw": True}}}, "line 2: there is no detector 'nsfww'; there are clip"),
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


def test_labels_that_are_no_file_of_labels_are_the_operators_fault(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "picture.jsonl").write_bytes(b"\xff\xd8\xff")
    for name, complaint in (("none.jsonl", "No such file"), ("empty.jsonl", "is empty"), ("picture.jsonl", "UTF-8")):
        with pytest.raises(SettingsError, match=complaint):
            labelling.read(tmp_path / name)


def test_a_file_that_is_not_there_is_named_with_its_line(tmp_path):
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


# ---- judging


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


def test_a_file_of_which_nothing_is_said_is_not_counted_for_that_detector(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/a.jpg", found("nsfw", "nsfw", 0.9), found("ocr", "text", 0.9, text="x")))
    (one,) = judged(tmp_path, said("a.jpg", ocr={"text": True})).judged
    assert (one.detector, one.presence.positives, one.presence.negatives) == ("ocr", 1, 0)


def test_what_was_not_looked_at_counts_neither_way_and_is_told(tmp_path):
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
        "sound.wav": "there is nothing in it that this detector looks at",
        "skipped.jpg": "it was not asked: it does not run, or the scan left it out",
        "unknown.jpg": "the results do not hold it",
    }


def test_the_newest_answer_counts_and_only_of_the_newest_content(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/a.jpg", found("ocr", "text", 0.9, "old", text="old"), minutes=1))
    commit(tmp_path, "b.parquet", row("s3://b/a.jpg", found("ocr", "text", 0.8, "new", text="new"), minutes=2))
    commit(tmp_path, "c.parquet", row("s3://b/a.jpg", found("nsfw", "nsfw", 0.5), minutes=3))
    commit(tmp_path, "d.parquet", row("s3://b/a.jpg", found("face", "face", 0.5), etag="e0", minutes=0))
    of = answers.stored(str(tmp_path), ["s3://b/a.jpg"])["s3://b/a.jpg"]
    assert of.models == {"ocr": "new", "nsfw": "m1"}
    assert [one["text"] for one in of.detections["ocr"]] == ["new"]


def test_a_star_is_whatever_the_detector_calls_it(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/a.jpg", found("clip", "cup", 0.5), found("clip", "dog", 0.9)))
    (one,) = judged(tmp_path, said("a.jpg", clip={"*": False})).judged
    assert one.false_positives[0].score == 0.9 and one.note == ""


def test_a_label_that_no_detection_has_is_told(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/a.jpg", found("clip", "tabby", 0.5)))
    (one,) = judged(tmp_path, said("a.jpg", clip={"cat": True})).judged
    assert "Nothing was called “cat”" in one.note and "tabby" in one.note


def test_text_is_read_in_the_order_in_which_it_is_stored(tmp_path):
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
    assert (one.presence.tp, one.presence.fp) == (1, 1), "a text that is not empty is there"
    assert [text.uri for text in one.texts] == ["s3://b/a.png", "s3://b/none.png"]


def test_a_line_that_stays_in_a_video_is_read_once(tmp_path):
    lines = [found("ocr", "text", 0.9, text=text, time_s=at) for at in (0.0, 1.0) for text in ("LIVE", "NOW")]
    commit(tmp_path, "a.parquet", row("s3://b/a.mp4", *lines, kind="video"))
    (one,) = judged(tmp_path, said("a.mp4", ocr={"text": "LIVE NOW"})).judged
    assert one.error_rate.value == 0


def test_speech_is_judged_by_words(tmp_path):
    heard = [
        found("whisper", "speech", 0.9, span=(0.0, 1.0), text="One, two."),
        found("whisper", "speech", 0.9, text="Four"),
    ]
    commit(tmp_path, "a.parquet", row("s3://b/a.wav", *heard, kind="audio"))
    (one,) = judged(tmp_path, said("a.wav", whisper={"speech": "one two three four"})).judged
    assert one.unit == "words" and (one.error_rate.hits, one.error_rate.of) == (1, 4)


def test_things_are_counted_in_the_frame_that_shows_most_of_them(tmp_path):
    faces = [found("face", "face", 0.95, time_s=at) for at in (0.0, 1.0, 1.0, 2.0)]
    commit(tmp_path, "a.parquet", row("s3://b/a.mp4", *faces, kind="video"), row("s3://b/b.jpg", *faces[:1], unit=1))
    (one,) = judged(tmp_path, said("a.mp4", face={"face": 2}), said("b.jpg", face={"face": ["Ada", "Grace"]})).judged
    assert (one.counts.exact.hits, one.counts.exact.of, one.counts.missed) == (1, 2, 1)
    assert one.miscounted[0].said == "2 labelled, 1 found"


def test_people_are_told_apart_by_the_nearest_faces_of_two_files(tmp_path):
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
    assert of.in_use is None, "nobody knows the model m1 or its distance"


def test_the_profile_its_floor_and_its_distance_are_known_by_the_model(tmp_path):
    from deployments.detectors.face import FaceConfig

    model = f"{FaceConfig().model} gallery:01234567"
    faces = [found("face", "face", 0.99, model, vectors=(Vector("faces", (float(n), 0.0)),)) for n in range(2)]
    commit(tmp_path, "a.parquet", *(row(f"s3://b/{n}.jpg", face, unit=n) for n, face in enumerate(faces)))
    (one,) = judged(tmp_path, *(said(f"{n}.jpg", face={"face": [str(n)]}) for n in range(2))).judged
    assert (one.models, one.profiles, one.floor) == ((model,), ("embedded",), FaceConfig().floor)
    assert one.verification.in_use.distance == FaceConfig().distance


# ---- the report


class Page(HTMLParser):
    """The tags and the text of a page, as a browser parses it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def jpeg() -> bytes:
    to = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(to, "JPEG")
    return to.getvalue()


HOSTILE = '<img src=x onerror="alert(1)">\u202egpj.exe</title><script>alert(2)</script>'


def hostile(folder: Path):
    name = HOSTILE.replace("/", "_")
    texts = found("ocr", "text", 0.9, text=HOSTILE), found("nsfw", "nsfw", 0.9, evidence=HOSTILE)
    commit(folder, "a.parquet", row(f"s3://b/{name}", *texts, thumbnail=jpeg()))
    return judged(folder, said(name, ocr={"text": "<b>right</b>"}, nsfw={"nsfw": False}), base_rate=0.001)


def test_nothing_out_of_a_file_becomes_a_part_of_the_page(tmp_path):
    page = Page(report.html(hostile(tmp_path)))
    kinds = {tag for tag, _ in page.tags}
    assert "script" not in kinds and not any(name.startswith("on") for _, of in page.tags for name in of)
    assert '<img src=x onerror="alert(1)">\N{REPLACEMENT CHARACTER}gpj.exe' in page.text
    assert "\u202e" not in page.text


def test_the_report_is_one_file_that_asks_nobody(tmp_path):
    html = report.html(hostile(tmp_path))
    page = Page(html)
    sources = [of[name] for _, of in page.tags for name in ("src", "href", "srcset") if name in of]
    assert sources and all(one.startswith(("data:image/jpeg;base64,", "#n")) for one in sources)
    assert not re.search(r"url\(|@import", html)
    assert any("default-src 'none'" in (of.get("content") or "") for _, of in page.tags)


def test_every_picture_is_blurred_until_it_is_asked_for(tmp_path):
    html = report.html(hostile(tmp_path))
    pictures = html.count("<img ")
    assert pictures and len(re.findall(r'<label class="veil"><input type="checkbox"[^>]*><img ', html)) == pictures
    assert re.search(r"\.veil img \{[^}]*filter: blur", html)


def test_json_has_neither_pictures_nor_nan(tmp_path):
    told = json.loads(json.dumps(plain(hostile(tmp_path)), allow_nan=False))
    nsfw = next(one for one in told["judged"] if one["detector"] == "nsfw")
    recall = nsfw["presence"]["recall"]
    assert (recall["value"], recall["of"], recall["why"]) == (None, 0, "no file is labelled to have it")
    assert "thumbnail" not in json.dumps(told)


# ---- the command


@pytest.fixture
def alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAYSIFT_API__PORT", "9")  # nobody listens there


def run(*arguments: str):
    return CliRunner().invoke(raysift.cli, ["evaluate", *arguments])


def test_judges_stored_results_without_a_cluster(alone, tmp_path):
    explicit = found("nsfw", "nsfw", 0.9)
    rows = row("s3://b/a.jpg", explicit), row("s3://b/[red].jpg", explicit, thumbnail=jpeg(), unit=1)
    commit(tmp_path / "out", "a.parquet", *rows)
    path = labels(tmp_path, said("a.jpg", nsfw={"nsfw": True}), said("[red].jpg", nsfw={"nsfw": False}))
    done = run(str(path), "--from", str(tmp_path / "out"), "--base-rate", "0.01", "--threshold", "0.5", "--json")
    assert done.exit_code == 0, done.exception
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["judged"][0]["presence"]["recall"]["value"] == 1.0 and told["thresholds"] == {"nsfw": 0.5}
    assert Path(told["report"]).parent == tmp_path / "out"
    assert "[red].jpg" in Path(told["report"]).read_text()
    assert "precision" in done.stderr and "0.21-1.00" in done.stderr


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--from", "elsewhere"], "holds none of the files"),
        (["--from", "out", "--out", "out"], "Give one of them"),
        (["--from", "out", "--base-rate", "1"], "--base-rate is a share"),
        (["--from", "out", "--threshold", "nsfww=0.5"], "no detector 'nsfww'"),
        (["--from", "out", "--threshold", "nsfw=nan"], "write a number from 0 to 1"),
        ([], "gone.jpg does not exist"),
    ],
)
def test_a_wrong_word_is_a_sentence(alone, tmp_path, more, complaint):
    path = labels(tmp_path, {"uri": "gone.jpg", "labels": {"nsfw": {"nsfw": True}}})
    with pytest.raises(SettingsError, match=complaint):
        raise run(str(path), *more).exception


def test_a_threshold_of_one_detector_goes_before_that_of_all():
    from commands.evaluate import _thresholds

    of = _thresholds(["nsfw=0.9", "0.5"])
    assert of["nsfw"] == 0.9 and of["ocr"] == 0.5


def test_many_files_are_asked_for_in_one_job(alone, tmp_path, monkeypatch):
    from commands import evaluate

    sent = []

    def api(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            sent.append(json.loads(request.content))
        over = {"job": "scan-1", "state": "finished", "units": 1, "done": 1, "failed": 0, "seconds": 1.0}
        return httpx.Response(200, json=over)

    plain_client = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **more: plain_client(**more, transport=httpx.MockTransport(api)))
    many = [labelling.Labelled(f"s3://bucket/{n:0100}.jpg", n, {"ocr": {"text": ""}}) for n in range(1200)]
    evaluate._scan(raysift.load(), many, "s3://found/x")
    (job,) = sent
    assert job["uris"] == [file.uri for file in many] and job["detectors"] == ["ocr"]


def test_detectors_that_look_at_what_others_read_are_asked_together_with_them():
    from commands.evaluate import _detectors

    assert _detectors([labelling.Labelled("a", 1, {"nsfw": {}, "face": {}})]) == "face,nsfw"
    assert _detectors([labelling.Labelled("a", 1, {"nsfw": {}, "clip": {}})]) is None


NOTICE = {"text": "NOTICE Keep this gate closed at all times Deliveries: ring twice"}
SPOKEN = {"speech": "The police officer put the suspect in handcuffs near the main gate."}


@pytest.mark.ray
@pytest.mark.timeout(500)
def test_judges_the_running_cluster_on_exactly_the_labelled_files(cluster: Cluster, media: Path, tmp_path: Path):
    names = ("notice.png", "broken.jpg")
    path = labels(tmp_path, *({"uri": str(media / name), "labels": {"ocr": NOTICE}} for name in names))
    out = tmp_path / "out"
    done = cluster.raysift("evaluate", str(path), "--out", str(out), "--base-rate", "0.001", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    (ocr,) = told["judged"]
    assert ocr["error_rate"]["value"] < 0.1 and ocr["profiles"] == ["embedded"] and ocr["presence"]["tp"] == 1
    assert [(left["detector"], len(left["uris"])) for left in told["left_out"]] == [("ocr", 1)]
    assert Path(told["report"]).parent == out and "notice.png" in Path(told["report"]).read_text()
    assert set(cluster.export(str(out))) == set(names)


@pytest.mark.ray
@pytest.mark.timeout(500)
def test_judges_what_a_scan_has_stored(cluster: Cluster, media: Path, scanned, tmp_path: Path):
    said_of = {
        "notice.png": {"ocr": NOTICE, "face": {"face": 0}, "nsfw": {"nsfw": False}},
        "astronaut.png": {"face": {"face": ["Collins"]}, "nsfw": {"nsfw": False}},
        "admiral.jpg": {"face": {"face": ["Hopper"]}},
        "news.mp4": {"face": {"face": ["Collins"]}, "whisper": SPOKEN},
        "recording.ogg": {"whisper": SPOKEN},
    }
    path = labels(tmp_path, *({"uri": str(media / name), "labels": of} for name, of in said_of.items()))
    report = tmp_path / "report.html"
    done = cluster.raysift("evaluate", str(path), "--from", scanned[0], "--report", str(report), "--json")
    assert done.returncode == 0, done.stderr
    of = {one["detector"]: one for one in json.loads(done.stdout.splitlines()[-1])["judged"]}
    assert of["ocr"]["error_rate"]["value"] < 0.1 and of["whisper"]["error_rate"]["value"] < 0.2
    assert of["face"]["counts"]["exact"]["hits"] == of["face"]["counts"]["exact"]["of"] == 3
    assert (of["face"]["verification"]["same"], of["face"]["verification"]["different"]) == (1, 2)
    assert of["face"]["verification"]["in_use"]["accuracy"]["value"] == 1
    assert of["nsfw"]["presence"]["negatives"] == 2
    assert report.stat().st_size > 10_000
