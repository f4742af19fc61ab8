from urllib.parse import parse_qs, urlsplit

from streamlit.testing.v1 import AppTest

from app import address, draw, draw_file
from cluster.api_queries import MAX_PAGE, AssetQuery
from cluster.api_types import Failure, Hit, Label
from cluster.records import asset_id
from tests.support.fakes.files import detection, file
from tests.support.fakes.jobs import FakeJob

PALETTE = {"face": "#111111", "ocr": "#222222", "whisper": "#333333"}


def test_a_detector_keeps_its_colour_whatever_the_order():
    assert draw.colors(["ocr", "face"]) == draw.colors(["face", "ocr", "face"])
    assert len(set(draw.colors(["a", "b", "c", "d", "e", "f", "g"]).values())) == 7


def test_times_are_written_as_people_say_them():
    assert [draw.clock(seconds) for seconds in (None, 7.9, 760, 3723)] == ["", "0:07", "12:40", "1:02:03"]


def test_sizes_are_written_as_people_say_them():
    assert [draw.volume(size) for size in (None, 12, 183_204, 4_200_000_000)] == ["", "12 bytes", "183.2 kB", "4.2 GB"]


def test_no_character_that_markdown_knows_is_left_in_plain_text():
    hostile = "<img src=x onerror=alert(1)> [a](javascript:b) **c** :red[d] $e$ `f`\n# g"
    assert not set("<>[]()*:$`#\n") & set(draw.plain(hostile).replace("&#", ""))


def test_a_tile_links_to_its_file_in_the_list_it_was_opened_from():
    tile = draw.tile(file("a&b.jpg", "image"), PALETTE, [("label", "a b"), ("page", "2")])
    assert parse_qs(urlsplit(tile["href"]).query) == {
        "asset": [asset_id("s3://evidence/case 7/a&b.jpg")],
        "in": ["label=a+b&page=2"],
    }


def test_a_tile_says_whether_all_or_a_part_of_a_file_failed():
    errors = [Failure(step="ocr", reason="it ran out of memory")]
    labels = [Label(detector="face", label="face", score=0.9, count=2)]
    partly = draw.tile(file("a.jpg", "image", errors=errors, labels=labels), PALETTE, [])
    wholly = draw.tile(file("a.jpg", "image", errors=errors), PALETTE, [])
    assert (partly["cross"], partly["failed"]) == ("Partly failed", "ocr: it ran out of memory")
    assert wholly["cross"] == "Failed"
    assert partly["chips"] == [{"text": "face x2", "score": "0.90", "color": "#111111"}]


def test_a_box_is_drawn_in_percent_and_never_outside_the_picture():
    box = draw.drawn((-0.1, 0.25, 0.5, 1.2), "face", 0.876, "face", None, PALETTE)
    assert (box["left"], box["top"], box["width"], box["height"], box["text"]) == (0, 25, 50, 75, "face 0.88")


def test_a_hit_says_how_it_matched_where_and_by_which_line():
    asset = file("a.mp4", "video", duration_s=90.0)
    hit = Hit(asset=asset, score=0.8, matched="speech", text="good morning", time_s=62.0)
    tile = draw.hit_tile(hit, PALETTE, [("q", "morning")])
    assert tile["note"] == "Spoken at 1:02: “good morning” · 0.80"
    assert parse_qs(urlsplit(tile["href"]).query)["t"] == ["62"]


def test_a_job_says_how_far_how_fast_and_for_how_long_still():
    job = (
        FakeJob("j", [])
        .info()
        .model_copy(update={"state": "running", "units": 100, "done": 25, "skipped": 3, "seconds": 50.0})
    )
    assert draw.progress(job) == "25 of 100 files · 3 were known already · 30.0 a minute · about 2:30 left"
    assert draw.progress(job.model_copy(update={"state": "listing", "units": None})) == "Listing the files"


def test_frames_of_a_label_one_after_the_other_are_one_stretch_of_the_timeline():
    seen = [detection("face", "face", score, time_s=time) for time, score in ((1, 0.5), (2, 0.9), (3, 0.6), (9, 0.4))]
    (lane,) = draw_file.lanes(seen, PALETTE)
    assert [(mark["start"], mark["end"], mark["score"]) for mark in lane["marks"]] == [(1, 3, 0.9), (9, 9, 0.4)]


def test_every_spoken_line_has_a_mark_of_its_own():
    heard = [detection("whisper", "en", 0.9, span=[start, start + 1.0], text="x") for start in (0.0, 1.0, 2.0)]
    assert len(draw_file.lanes(heard, PALETTE)[0]["marks"]) == 3


def test_a_lane_has_no_more_marks_than_it_can_show_and_they_reach_to_its_end():
    heard = [detection("whisper", "en", 0.9, span=[n, n + 0.5], text="x") for n in range(5000)]
    marks = draw_file.lanes(heard, PALETTE)[0]["marks"]
    assert len(marks) == 400
    assert marks[-1]["start"] > 4900


def test_what_was_said_and_what_was_read_are_told_apart_and_a_line_that_stays_is_listed_once():
    found = [
        detection("whisper", "en", 0.9, span=[4.0, 5.0], text="later"),
        detection("whisper", "en", 0.9, span=[1.0, 2.0], text="sooner"),
        *(detection("ocr", "text", 0.8, time_s=float(time), text="NEWS") for time in (1, 2, 3, 20)),
    ]
    assert [line["text"] for line in draw_file.said(found)] == ["sooner", "later"]
    assert [line["clock"] for line in draw_file.read(found)] == ["0:01", "0:20"]


def test_a_line_of_the_table_knows_its_box_and_the_best_comes_first():
    found = [detection("ocr", "text", 0.5, box=[0, 0, 1, 1], text="a"), detection("face", "face", 0.9)]
    picture = file("a.jpg", "image", found, width=400, height=300)
    drawn = draw_file.viewer(picture, PALETTE, "/api/media/x", "a.jpg")
    assert [(row["detector"], row["box"]) for row in drawn["rows"]] == [("face", None), ("ocr", 0)]
    assert drawn["boxes"][0]["text"] == "a 0.50"


def test_a_long_table_says_how_much_it_leaves_out():
    found = [detection("face", "face", 0.9, time_s=float(time)) for time in range(310)]
    drawn = draw_file.viewer(file("a.mp4", "video", found), PALETTE, "", "a.mp4")
    assert (len(drawn["rows"]), drawn["rows_left_out"]) == (300, 10)


def test_an_address_says_what_is_listed_and_reads_back_the_same():
    query = AssetQuery(
        kind=("image", "audio"),
        detector=("face", "ocr"),
        label=("a b",),
        detector_label=("face:Ann: the second",),
        job=("scan-1", "scan-2"),
        min_score=0.35,
        under=("s3://x/ü",),
        failed=True,
        sort="score",
        page=3,
    )
    assert address.listed(address.context(query)) == query
    assert address.context(AssetQuery()) == []


def test_an_address_that_makes_no_sense_lists_what_is_usual():
    pairs = [("min_score", "nan"), ("sort", "sideways"), ("page", "-4"), ("page", "x"), ("kind", "document")]
    pairs += [("detector_label", pair) for pair in ("face", ":face", "::face", "")] + [("under", "")]
    assert address.listed(pairs) == AssetQuery()
    assert address.listed([("page", "1e30"), ("min_score", "7")]) == AssetQuery(page=MAX_PAGE, min_score=1.0)


def test_a_model_is_named_without_the_files_in_its_packages():
    reference = "package:a-b==1.0/a_b/data/x.onnx + package:whisperx==3.8.7rc1/whisperx/assets/y.bin"
    assert draw_file.short(reference) == "a-b 1.0 + whisperx 3.8.7rc1"
    assert draw_file.short("hf:org/model@abc") == "hf:org/model@abc"


CUE = detection("ocr", "cue: words", 0.5, span=[1.0, 2.0], text="handcuffs", evidence="put him in handcuffs")


def test_a_cue_is_shown_with_its_reason_and_with_what_cues_are_worth():
    plain = draw_file.viewer(file("a.mp3", "audio", [detection("whisper", "en", 0.9, span=[1, 2])]), PALETTE, "", "a")
    drawn = draw_file.viewer(file("a.mp3", "audio", [CUE]), PALETTE, "", "a.mp3")
    assert plain["notes"] == []
    assert drawn["notes"] == [draw.CUES]
    assert "How many are missed is unknown" in draw.CUES and "most hits are false" in draw.CUES
    assert [(row["label"], row["why"]) for row in drawn["rows"]] == [("cue: words", "put him in handcuffs")]


def test_what_a_cue_quotes_is_not_listed_as_said_or_read_again():
    said = detection("whisper", "en", 0.9, span=[1.0, 2.0], text="put him in handcuffs")
    assert [line["text"] for line in draw_file.said([said, CUE])] == ["put him in handcuffs"]
    boxed = CUE.model_copy(update={"span": None, "box": (0, 0, 1, 1)})
    assert draw_file.read([boxed]) == []
    assert draw_file.viewer(file("a.jpg", "image", [boxed]), PALETTE, "", "a")["boxes"][0]["text"] == "cue: words 0.50"


def test_tiles_and_filters_say_what_cues_are_worth_where_one_is_shown():
    def page(label):
        from app import components, draw
        from tests.support.fakes.files import file

        chips = [{"text": label, "score": "0.50", "color": ""}]
        shown = draw.tile(file("a", "image"), {}, []) | {"chips": chips}
        components.gallery("tiles", [shown], "Files", (True, True))
        options = [{"value": label, "text": label, "count": 1, "chosen": False, "color": ""}]
        components.facets("facets", [{"name": "label", "title": "Label", "options": options}], lambda: None)

    for label, captions in (("cue: concept x2", [draw.CUES] * 2), ("rope", [])):
        at = AppTest.from_function(page, default_timeout=30, args=(label,)).run()
        assert not at.exception
        assert [caption.value for caption in at.caption] == captions
