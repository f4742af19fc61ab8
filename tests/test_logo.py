import numpy as np
import pytest
import tiny_detection
from PIL import Image, ImageDraw
from test_detectors import MEDIA, on_media, picture

from cluster.galleries import Gallery
from cluster.records import Detection, Sample
from deployments.boxes import overlap
from deployments.detectors import logo
from deployments.detectors.logo import Logo, LogoConfig, Mark

GREY = Sample(pixels=np.full((40, 60, 3), 128, np.uint8))
BOX = (0.1, 0.1, 0.5, 0.5)


def stand_in(samples):
    return [[Mark("acme", 0.9, BOX, "because")] for _ in samples]


def tried(folder):
    return LogoConfig(backend="gpu", model=f"file:{tiny_detection.owlv2(folder)}", floor=0)


TRIED = {"gpu": tried}


def drawn(seed, side=160):
    """A mark of no brand: corners of every kind, on nothing."""
    rng = np.random.default_rng(seed)
    mark = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    draw = ImageDraw.Draw(mark)
    draw.ellipse((1, 1, side - 2, side - 2), fill=(*(int(c) for c in rng.integers(60, 255, 3)), 255))
    for _ in range(25):
        x, y = rng.integers(side // 8, side * 3 // 4, 2)
        w, h = rng.integers(4, side // 4, 2)
        fill = (*(int(c) for c in rng.integers(0, 255, 3)), 255)
        draw.polygon([(int(x), int(y)), (int(x + w), int(y + h // 3)), (int(x + w // 2), int(y + h))], fill=fill)
    return mark


def scene(seed, mark=None, turned=0.0, size=110, at=(150, 60)):
    """A busy background with the mark on it, and the mark's box."""
    rng = np.random.default_rng(seed)
    frame = Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)).resize((480, 360), Image.BICUBIC)
    if mark is None:
        return Sample(pixels=np.asarray(frame)), None
    shown = mark.resize((size, size), Image.LANCZOS).rotate(turned, Image.BICUBIC, expand=True)
    frame.paste(shown, at, shown)
    left, top = at
    box = (left / 480, top / 360, (left + shown.width) / 480, (top + shown.height) / 360)
    return Sample(pixels=np.asarray(frame)), box


def gallery(folder, *seeds):
    for seed in seeds:
        drawn(seed).save(folder / "mark.png")
        Gallery(str(folder / "logos")).add(f"brand {seed}", folder / "mark.png")
    return LogoConfig(gallery=str(folder / "logos"))


def test_an_empty_gallery_finds_nothing_and_says_so(tmp_path, caplog):
    detector = Logo(LogoConfig(gallery=str(tmp_path / "none")))
    assert "raysift logos add" in caplog.text
    assert detector.detect([scene(1, drawn(1))[0], Sample(text="acme")]) == [[], []]


@pytest.mark.parametrize(("turned", "size"), [(0, 110), (25, 110), (-15, 80), (10, 200)])
def test_a_logo_is_found_where_it_is_turned_and_scaled(tmp_path, turned, size):
    detector = Logo(gallery(tmp_path, 1, 2, 3))
    sample, box = scene(5, drawn(2), turned, size)
    (found,) = detector.detect([sample])[0]
    assert (found.label, found.score >= 0.5) == ("brand 2", True)
    assert overlap(found.box, box) > 0.6
    assert "features agree with" in found.evidence


def test_pictures_without_a_logo_or_with_another_stay_quiet(tmp_path):
    detector = Logo(gallery(tmp_path, 1, 2))
    quiet = [scene(seed)[0] for seed in range(5)] + [scene(9, drawn(50))[0]]
    assert detector.detect(quiet) == [[] for _ in quiet]


def test_a_large_gallery_finds_what_a_small_one_does(tmp_path):
    detector = Logo(gallery(tmp_path, *range(20)))
    (tmp_path / "few").mkdir()
    small = Logo(gallery(tmp_path / "few", 7, 13))
    for seed in (7, 13):
        sample, _ = scene(seed, drawn(seed), 12)
        assert detector.detect([sample]) == small.detect([sample]) != [[]]


def test_a_logo_that_is_added_later_is_found_without_a_restart(tmp_path):
    now = [0.0]
    config = gallery(tmp_path, 1)
    shown = logo._Shown(config.gallery, lambda picture: picture.size, lambda: now[0])
    before = LogoConfig.model_validate(config), Logo.version(config)
    gallery(tmp_path, 2)
    assert len(shown.current()) == 1, "it looks every few seconds, no more"
    now[0] = logo.LOOK_S + 1
    assert [reference.name for reference in shown.current()] == ["brand 1", "brand 2"]
    assert Logo.version(config) != before[1], "files are asked about again"


def test_a_name_is_found_in_what_was_read_as_a_word_of_its_own(tmp_path):
    drawn(1).save(tmp_path / "mark.png")
    for name in ("PayPal", "HP"):
        Gallery(str(tmp_path / "logos")).add(name, tmp_path / "mark.png")
    detector = Logo(LogoConfig(gallery=str(tmp_path / "logos")), infer=stand_in)
    texts = ["Pay with PAYPAL now", "paypally", "an HP printer", ""]
    found = detector.detect([Sample(text=text) for text in texts])
    assert found == [[Detection("PayPal", 0.5, text="PAYPAL", evidence="word mark: Pay with PAYPAL now")], [], [], []]


def test_a_place_has_one_logo_the_surest():
    marks = [Mark("a", 0.6, BOX, ""), Mark("b", 0.8, BOX, ""), Mark("a", 0.55, (0.6, 0.6, 0.9, 0.9), "")]
    found = Logo(LogoConfig(floor=0.5), infer=lambda samples: [marks]).detect([GREY])
    assert [(one.label, one.score) for one in found[0]] == [("b", 0.8), ("a", 0.55)]


def test_the_self_test_is_never_seen_in_other_pictures(tmp_path):
    detector = Logo(gallery(tmp_path, 1))
    pixels = np.array(Logo.example().pixels)
    pixels[0, 0] ^= 1
    assert [one.label for one in detector.detect([Logo.example()])[0]] == [logo.SELF_TEST]
    assert detector.detect([Sample(pixels=pixels)]) == [[]]


def test_a_picture_of_the_gallery_that_breaks_is_left_out(tmp_path, caplog):
    config = gallery(tmp_path, 1, 2)
    (broken, _) = Gallery(config.gallery).references()
    (tmp_path / "logos" / broken.name / broken.file).write_bytes(b"no picture")
    sample, _ = scene(5, drawn(2))
    assert [one.label for one in Logo(config).detect([sample])[0]] == ["brand 2"]
    assert "is no picture" in caplog.text


class TestOnMedia:
    pytestmark = on_media

    @pytest.fixture(scope="class")
    def detector(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("logos")
        for file in sorted((MEDIA / "logos").glob("*.png")):
            Gallery(str(folder)).add(file.stem, file)
        return Logo(LogoConfig(gallery=str(folder)))

    def test_finds_the_logos_of_a_video_in_their_time(self, detector):
        import av

        seen = {}
        with av.open(str(MEDIA / "video" / "composite_news_en.mp4")) as video:
            for frame in video.decode(video=0):
                second = int(frame.time)
                if second not in seen:
                    seen[second] = frame.to_ndarray(format="rgb24")
        found = {s: {one.label for one in detector.detect([Sample(pixels=seen[s])])[0]} for s in (1, 5, 9)}
        assert found == {1: {"postgresql"}, 5: {"firefox"}, 9: set()}

    def test_says_nothing_of_pictures_without_one(self, detector):
        files = [*sorted((MEDIA / "negatives").iterdir()), *sorted((MEDIA / "faces").iterdir())]
        assert [found for found in detector.detect([picture(file) for file in files]) if found] == []
