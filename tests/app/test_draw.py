from urllib.parse import parse_qs, urlsplit

from streamlit.testing.v1 import AppTest

from app import address, draw, draw_file
from app.jobs import wording
from app.viewing import timeline
from cluster.api_queries import MAX_PAGE, AssetQuery
from cluster.api_types import Failure, Hit, Label
from cluster.records import asset_id
from tests.support.fakes.files import detection, file
from tests.support.fakes.jobs import FakeJob

PALETTE = {"face": "#111111", "ocr": "#222222", "whisper": "#333333"}


def test_detector_colours_do_not_depend_on_the_order_of_names():
    assert draw.colors(["ocr", "face"]) == draw.colors(["face", "ocr", "face"])
    assert len(set(draw.colors(["a", "b", "c", "d", "e", "f", "g"]).values())) == 7


def test_escaped_text_has_no_markdown_characters():
    hostile = "<img src=x onerror=alert(1)> [a](javascript:b) **c** :red[d] $e$ `f`\n# g"
    assert not set("<>[]()*:$`#\n") & set(draw.escape(hostile).replace("&#", ""))


def test_the_link_of_a_tile_has_the_file_and_its_list():
    tile = draw.tile(file("a&b.jpg", "image"), PALETTE, [("label", "a b"), ("page", "2")])
    assert parse_qs(urlsplit(tile["href"]).query) == {
        "asset": [asset_id("s3://evidence/case 7/a&b.jpg")],
        "in": ["label=a+b&page=2"],
    }


def test_a_tile_shows_whether_a_file_failed_partly_or_completely():
    errors = [Failure(step="ocr", reason="it ran out of memory")]
    labels = [Label(detector="face", label="face", score=0.9, count=2)]
    partly_failed = draw.tile(file("a.jpg", "image", errors=errors, labels=labels), PALETTE, [])
    failed = draw.tile(file("a.jpg", "image", errors=errors), PALETTE, [])
    assert (partly_failed["cross"], partly_failed["failed"]) == ("Partly failed", "ocr: it ran out of memory")
    assert failed["cross"] == "Failed"
    assert partly_failed["chips"] == [{"text": "face x2", "score": "0.90", "color": "#111111"}]


def test_a_box_is_in_percent_and_clipped_to_the_picture():
    box = draw.drawn((-0.1, 0.25, 0.5, 1.2), "face", 0.876, "face", None, PALETTE)
    assert (box["left"], box["top"], box["width"], box["height"], box["text"]) == (0, 25, 50, 75, "face 0.88")


def test_the_note_of_a_hit_has_its_kind_time_and_text():
    asset = file("a.mp4", "video", duration_s=90.0)
    hit = Hit(asset=asset, score=0.8, matched="speech", text="good morning", time_s=62.0)
    tile = draw.hit_tile(hit, PALETTE, [("q", "morning")])
    assert tile["note"] == "Spoken at 1:02: “good morning” · 0.80"
    assert parse_qs(urlsplit(tile["href"]).query)["t"] == ["62"]


def test_a_hit_in_speech_is_played_at_once_also_one_of_exact_words():
    asset = file("a.mp4", "video", duration_s=90.0)
    plays = {}
    for matched, detector in (
        ("speech", "whisper"),
        ("exact text", "whisper"),
        ("exact text", "ocr"),
        ("picture", None),
    ):
        hit = Hit(asset=asset, score=0.8, matched=matched, detector=detector, text="good morning", time_s=62.0)
        plays[matched, detector] = "play=1" in draw.hit_tile(hit, PALETTE, [("q", "morning")])["href"]
    assert [pair for pair, play in plays.items() if play] == [("speech", "whisper"), ("exact text", "whisper")]


def test_the_progress_of_a_job_has_counts_rate_and_remaining_time():
    job = (
        FakeJob("j", [])
        .info()
        .model_copy(update={"state": "running", "units": 100, "done": 25, "skipped": 3, "seconds": 50.0})
    )
    assert (
        wording.progress(job) == "25 of 100 files · 3 were known already · 2 left out · 30.0 a minute · about 2:30 left"
    )
    assert wording.progress(job.model_copy(update={"state": "listing", "units": None})) == "Listing the files"


def test_rows_of_the_table_have_the_index_of_their_box_and_are_sorted_by_score():
    found = [detection("ocr", "text", 0.5, box=[0, 0, 1, 1], text="a"), detection("face", "face", 0.9)]
    picture = file("a.jpg", "image", found, width=400, height=300)
    drawn = draw_file.viewer(picture, PALETTE, "/api/media/x", "a.jpg")
    assert [(row["detector"], row["box"]) for row in drawn["rows"]] == [("face", None), ("ocr", 0)]
    assert drawn["boxes"][0]["text"] == "a 0.50"


def test_a_long_table_is_cut_and_has_the_number_of_omitted_rows():
    found = [detection("face", "face", 0.9, time_s=float(time)) for time in range(310)]
    drawn = draw_file.viewer(file("a.mp4", "video", found), PALETTE, "", "a.mp4")
    assert (len(drawn["rows"]), drawn["rows_left_out"]) == (300, 10)


def test_a_query_survives_the_round_trip_through_a_url():
    query = AssetQuery(
        kind=("image", "audio"),
        detector=("face", "ocr"),
        label=("a b",),
        detector_label=("face:Ann: the second",),
        where=("face:|!ocr:~exit & more", "width>=640"),
        job=("scan-1", "scan-2"),
        score_of="face:Ann: the second",
        min_score=0.35,
        under=("s3://x/ü",),
        failed=True,
        sort="score",
        page=3,
    )
    assert address.query_of(address.context(query)) == query
    assert address.context(AssetQuery()) == []


def test_invalid_url_parameters_are_replaced_by_defaults():
    pairs = [("min_score", "nan"), ("sort", "sideways"), ("page", "-4"), ("page", "x"), ("kind", "document")]
    pairs += [("detector_label", pair) for pair in ("face", ":face", "::face", "")] + [("under", "")]
    pairs += [("where", "face"), ("where", "width=3"), ("where", "face:" + "x" * 1000), ("score_of", "face:>=0.5")]
    assert address.query_of(pairs) == AssetQuery()
    assert address.query_of([("page", "1e30"), ("min_score", "7")]) == AssetQuery(page=MAX_PAGE, min_score=1.0)


def test_a_model_reference_is_shown_without_package_files():
    reference = "package:a-b==1.0/a_b/data/x.onnx + package:whisperx==3.8.7rc1/whisperx/assets/y.bin"
    assert draw_file.short(reference) == "a-b 1.0 + whisperx 3.8.7rc1"
    assert draw_file.short("hf:org/model@abc") == "hf:org/model@abc"


CUE = detection("ocr", "cue: words", 0.5, span=[1.0, 2.0], text="handcuffs", evidence="put him in handcuffs")


def test_a_cue_is_shown_with_its_evidence_and_the_warning():
    without_cue = draw_file.viewer(
        file("a.mp3", "audio", [detection("whisper", "en", 0.9, span=[1, 2])]), PALETTE, "", "a"
    )
    drawn = draw_file.viewer(file("a.mp3", "audio", [CUE]), PALETTE, "", "a.mp3")
    assert without_cue["notes"] == []
    assert drawn["notes"] == [draw.CUES]
    assert "How many are missed is unknown" in draw.CUES and "most hits are false" in draw.CUES
    assert [(row["label"], row["why"]) for row in drawn["rows"]] == [("cue: words", "put him in handcuffs")]


def test_the_text_of_a_cue_is_not_listed_again_as_speech_or_text():
    said = detection("whisper", "en", 0.9, span=[1.0, 2.0], text="put him in handcuffs")
    assert [line["text"] for line in timeline.said([said, CUE])] == ["put him in handcuffs"]
    boxed = CUE.model_copy(update={"span": None, "box": (0, 0, 1, 1)})
    assert timeline.read([boxed]) == []
    assert draw_file.viewer(file("a.jpg", "image", [boxed]), PALETTE, "", "a")["boxes"][0]["text"] == "cue: words 0.50"


def test_tiles_and_filters_with_a_cue_show_the_warning():
    def page(label):
        from app import components, draw
        from cluster.exposure.exposure import ExposureRules
        from tests.support.fakes.files import file

        chips = [{"text": label, "score": "0.50", "color": ""}]
        shown = draw.tile(file("a", "image"), {}, []) | {"chips": chips}
        components.gallery("tiles", [shown], "Files", ExposureRules().exposure)
        options = [{"value": label, "text": label, "count": 1, "chosen": False, "color": ""}]
        components.facets("facets", [{"name": "label", "title": "Label", "options": options}], lambda: None)

    for label, captions in (("cue: concept x2", [draw.CUES] * 2), ("rope", [])):
        at = AppTest.from_function(page, default_timeout=30, args=(label,)).run()
        assert not at.exception
        assert [caption.value for caption in at.caption] == captions


def test_a_member_of_an_archive_names_the_container_that_it_lies_in():
    inner = file("x", "image", uri="s3://b/a!b.zip!in%20it/c.zip!d.jpg", parent="s3://b/a!b.zip")
    outer = file("x", "image", uri="s3://b/a!b.zip!d.jpg", parent="s3://b/a!b.zip")
    assert draw_file.container(inner) == ("c.zip", asset_id("s3://b/a!b.zip!in%20it/c.zip"))
    assert draw_file.container(outer) == ("a!b.zip", asset_id("s3://b/a!b.zip"))
    assert draw_file.container(file("x", "image", uri="s3://b/a!b.jpg")) is None
