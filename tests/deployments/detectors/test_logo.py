import re

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cluster.records import Detection, Sample
from deployments.detectors.logo import Logo, LogoConfig, Mark, strongest
from deployments.galleries.pictures import flattened
from deployments.galleries.self_test import SELF_TEST
from deployments.galleries.store import Gallery, opened
from deployments.galleries.watcher import REFRESH_S, GalleryWatcher
from deployments.models import runtime
from deployments.models.boxes import overlap
from deployments.models.orb_matching import Matcher, described
from deployments.models.regions import Region
from tests.deployments.detectors.test_contract import MEDIA, on_media, picture
from tests.support.models import tiny_detection

GREY = Sample(pixels=np.full((40, 60, 3), 128, np.uint8))
BOX = (0.1, 0.1, 0.5, 0.5)


def stand_in(samples):
    return [[Mark("acme", 0.9, BOX, "because")] for _ in samples]


def tried(folder):
    return LogoConfig(backend="gpu", model=f"file:{tiny_detection.owlv2(folder)}", floor=0)


TRIED = {"gpu": tried}


def drawn(seed, side=160):
    """A mark of no brand: corners of every kind, on transparent ground."""
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


def test_an_empty_gallery_finds_nothing_and_logs_a_warning(tmp_path, caplog):
    detector = Logo(LogoConfig(gallery=str(tmp_path / "none")))
    assert "raysift logos add" in caplog.text
    assert detector.detect([scene(1, drawn(1))[0], Sample(text="acme")]) == [[], []]


@pytest.mark.parametrize(
    ("turned", "size"), [(0, 110), (25, 110), (-15, 80), (10, 200), (90, 110), (180, 110), (270, 110)]
)
def test_a_rotated_and_scaled_logo_is_found(tmp_path, turned, size):
    detector = Logo(gallery(tmp_path, 1, 2, 3))
    sample, box = scene(5, drawn(2), turned, size)
    (found,) = detector.detect([sample])[0]
    assert (found.label, found.score >= 0.5) == ("brand 2", True)
    assert overlap(found.box, box) > 0.6
    assert re.fullmatch(r"\d+ inliers of \d+ with brand 2/[0-9a-f]{16}\.png at (1|1\.6)x", found.evidence)


def test_pictures_without_a_logo_or_with_another_give_no_detection(tmp_path):
    detector = Logo(gallery(tmp_path, 1, 2))
    quiet = [scene(seed)[0] for seed in range(2)] + [scene(9, drawn(50))[0]]
    assert detector.detect(quiet) == [[] for _ in quiet]


def test_every_copy_of_a_logo_is_found(tmp_path):
    sample, first = scene(5, drawn(2), 10, at=(20, 40))
    mark = drawn(2).resize((140, 140), Image.LANCZOS)
    frame = Image.fromarray(sample.pixels)
    frame.paste(mark, (300, 180), mark)
    found = Logo(gallery(tmp_path, 2)).detect([Sample(pixels=np.asarray(frame))])[0]
    assert [one.label for one in found] == ["brand 2", "brand 2"]
    boxes = sorted(one.box for one in found)
    assert overlap(boxes[0], first) > 0.6
    assert overlap(boxes[1], (300 / 480, 180 / 360, 440 / 480, 320 / 360)) > 0.6


def test_a_logo_cut_by_the_edge_has_a_box_within_the_picture(tmp_path):
    sample, _ = scene(5, drawn(2), at=(-40, 100), size=160)
    (found,) = Logo(gallery(tmp_path, 2)).detect([sample])[0]
    assert found.box == pytest.approx((0, 100 / 360, 120 / 480, 260 / 360), abs=0.03)


def test_a_transparent_reference_is_matched_on_light_and_dark_and_an_opaque_one_keeps_its_ground():
    mark = drawn(1)
    light, dark = (np.asarray(one) for one in flattened(mark, 4))
    assert (light.shape, light[0, 0].tolist(), dark[0, 0].tolist()) == ((168, 168, 3), [255] * 3, [20] * 3)
    (opaque,) = flattened(Image.new("RGBA", (10, 10), (7, 8, 9, 255)), 4)
    assert (opaque.size, opaque.getpixel((0, 0))) == ((18, 18), (7, 8, 9))


@pytest.mark.accuracy
@pytest.mark.timeout(300)
def test_the_index_of_a_gallery_of_sixty_finds_the_same_as_exhaustive_comparison():
    references = [described([np.asarray(one.convert("L")) for one in flattened(drawn(n), 24)], 24) for n in range(60)]
    each, by_index = Matcher(references, brute_most=60), Matcher(references)
    for n in range(0, 60, 20):
        sample, _ = scene(n, drawn(n), 12, size=90)
        grey = np.asarray(Image.fromarray(sample.pixels).convert("L"))
        expected = [(place.reference, place.inliers) for place in each.places(grey)]
        assert [(place.reference, place.inliers) for place in by_index.places(grey)] == expected
        assert [reference for reference, _ in expected] == [n]


def test_a_logo_added_later_is_found_without_a_restart(tmp_path):
    now = [0.0]
    config = gallery(tmp_path, 1)
    watcher = GalleryWatcher(opened(config.gallery), lambda picture: picture.size, lambda: now[0])
    before = Logo.version(config)
    gallery(tmp_path, 2)
    assert len(watcher.current()) == 1, "the gallery is listed every few seconds only"
    now[0] = REFRESH_S
    assert [reference.name for reference in watcher.current()] == ["brand 1", "brand 2"]
    assert Logo.version(config) != before, "files are analysed again"


def test_a_brand_name_is_found_in_text_as_a_whole_word(tmp_path):
    drawn(1).save(tmp_path / "mark.png")
    for name in ("PayPal", "HP"):
        Gallery(str(tmp_path / "logos")).add(name, tmp_path / "mark.png")
    detector = Logo(LogoConfig(gallery=str(tmp_path / "logos")), infer=stand_in)
    texts = ["Pay with PAYPAL now", "paypally", "an HP printer", ""]
    found = detector.detect([Sample(text=text) for text in texts])
    assert found == [[Detection("PayPal", 0.5, text="PAYPAL", evidence="word mark: Pay with PAYPAL now")], [], [], []]


def test_a_brand_is_found_by_its_other_names_too(tmp_path):
    drawn(1).save(tmp_path / "mark.png")
    for name in ("Coca-Cola + Coke", "Nestlé", "Visa"):
        Gallery(str(tmp_path / "logos")).add(name, tmp_path / "mark.png")
    detector = Logo(LogoConfig(gallery=str(tmp_path / "logos")), infer=stand_in)
    texts = ["a coke", "COCA COLA and Coke", "nestle's", "visas, advisable", "Visa."]
    found = detector.detect([Sample(text=text) for text in texts])
    assert [[(one.label, one.text) for one in answer] for answer in found] == [
        [("Coca-Cola", "coke")],
        [("Coca-Cola", "COCA COLA"), ("Coca-Cola", "Coke")],
        [("Nestlé", "nestle")],
        [],
        [("Visa", "Visa")],
    ]


def test_of_logos_at_one_place_the_strongest_is_kept():
    marks = [Mark("a", 0.6, BOX, ""), Mark("b", 0.8, BOX, ""), Mark("a", 0.55, (0.6, 0.6, 0.9, 0.9), "")]
    found = Logo(LogoConfig(floor=0.5), infer=lambda samples: [marks]).detect([GREY])
    assert [(one.label, one.score) for one in found[0]] == [("b", 0.8), ("a", 0.55)]


def test_the_self_test_mark_is_not_searched_in_other_pictures(tmp_path):
    detector = Logo(gallery(tmp_path, 1))
    pixels = np.array(Logo.example().pixels)
    pixels[0, 0] ^= 1
    assert [one.label for one in detector.detect([Logo.example()])[0]] == [SELF_TEST.name]
    assert detector.detect([Sample(pixels=pixels)]) == [[]]


def test_a_broken_picture_of_the_gallery_is_left_out(tmp_path, caplog):
    config = gallery(tmp_path, 1, 2)
    (broken, _) = Gallery(config.gallery).references()
    (tmp_path / "logos" / broken.name / broken.file).write_bytes(b"no picture")
    sample, _ = scene(5, drawn(2))
    assert [one.label for one in Logo(config).detect([sample])[0]] == ["brand 2"]
    assert "is not a picture" in caplog.text


class Alike:
    """A network with given answers: first for whole pictures, then for crops."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.shapes = []

    def alike(self, pictures, examples, floor):
        self.shapes.append([pixels.shape[:2] for pixels in pictures])
        return self.answers.pop(0)


def by_example(name, tmp_path, *answers):
    network = runtime.shared(f"open vocabulary {name}", lambda: Alike(*answers))
    config = LogoConfig(backend="gpu", model=name, gallery=gallery(tmp_path, 1, 2).gallery)
    return network, Logo(config)


def test_a_region_similar_at_both_scales_is_found_with_the_lower_score(tmp_path):
    # two examples a brand: its mark on light and on dark
    afar = [Region(2, 0.9, BOX), Region(3, 0.8, BOX), Region(0, 0.7, (0.5, 0.5, 1.0, 1.0))]
    near = [[Region(3, 0.75, (0, 0, 1, 1)), Region(0, 0.7, (0, 0, 1, 1))], [Region(2, 0.9, (0, 0, 1, 1))]]
    network, detector = by_example("afar and near", tmp_path, [afar, []], near)
    (found,), other = detector.detect([GREY, GREY])
    assert (found.label, found.score, found.box) == ("brand 2", 0.75, BOX)
    assert re.fullmatch(r"0\.90 alike to brand 2/[0-9a-f]{16}\.png, 0\.75 from near", found.evidence)
    assert other == []
    assert network.shapes == [[(40, 60), (40, 60)], [(16, 24), (20, 30)]], "all pictures in one call, all crops in one"


def test_a_region_whose_crop_matches_nothing_is_not_found(tmp_path):
    _, detector = by_example("nothing near", tmp_path, [[Region(0, 0.9, BOX)]], [[]])
    assert detector.detect([GREY]) == [[]]


def test_of_overlapping_regions_the_strongest_is_kept():
    regions = [Region(0, 0.5, BOX), Region(1, 0.9, BOX), Region(0, 0.4, (0.6, 0.6, 0.9, 0.9))]
    assert [(one.prompt, one.score) for one in strongest(regions)] == [(1, 0.9), (0, 0.4)]


class TestOnMedia:
    pytestmark = on_media

    @pytest.fixture(scope="class")
    def detector(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("logos")
        for file in sorted((MEDIA / "logos").glob("*.png")):
            Gallery(str(folder)).add(file.stem, file)
        return Logo(LogoConfig(gallery=str(folder)))

    def test_finds_the_logos_of_a_video_at_their_times(self, detector):
        import av

        seen = {}
        with av.open(str(MEDIA / "video" / "composite_news_en.mp4")) as video:
            for frame in video.decode(video=0):
                second = int(frame.time)
                if second not in seen:
                    seen[second] = frame.to_ndarray(format="rgb24")
        found = {s: {one.label for one in detector.detect([Sample(pixels=seen[s])])[0]} for s in (1, 5, 9)}
        assert found == {1: {"postgresql"}, 5: {"firefox"}, 9: set()}

    def test_pictures_without_a_logo_give_no_detection(self, detector):
        files = [*sorted((MEDIA / "negatives").iterdir()), *sorted((MEDIA / "faces").iterdir())]
        assert [found for found in detector.detect([picture(file) for file in files]) if found] == []
