"""The Analyze page."""

from tests.support.fakes.media import draw_picture
from tests.support.pages import Visit, drawn, words


def test_an_upload_shows_the_detections_of_every_detector(visit: Visit):
    at = visit("analyze")
    at.file_uploader[0].upload("me.png", draw_picture("ab" * 16, 64, 48, "me", 64))
    at.run()
    assert not at.exception
    assert [line["text"] for line in drawn(at, "viewer")["file"]["read"]] == ["Exit 3 north"]
    assert drawn(at, "viewer")["file"]["source"].endswith(".png")
    assert "Took" in words(at)


def test_an_unreadable_upload_shows_an_error_message(visit: Visit):
    at = visit("analyze")
    at.file_uploader[0].upload("paper.pdf", b"%PDF-1.4")
    at.run()
    assert "could not be analysed" in words(at)
    assert not at.exception
