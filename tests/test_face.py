import numpy as np
from test_detectors import MEDIA, on_media, picture, real

from cluster.records import Detection, Sample, Vector
from deployments.detectors.face import Face, FaceConfig, Found

VECTOR = (0.1,) * 128
PICTURE = Sample(pixels=np.zeros((100, 100, 3), np.uint8))


def stand_in(samples):
    return [[Found((-0.1, 0.2, 0.4, 1.3), 0.99, VECTOR), Found((0.5, 0.5, 0.52, 0.53), 0.93, None)] for _ in samples]


def test_a_face_beyond_the_edge_is_cut_there():
    face = Face(FaceConfig(), infer=lambda samples: [[Found((-0.1, 0.2, 0.4, 1.3), 0.99, VECTOR)]])
    expected = Detection("face", 0.99, box=(0.0, 0.2, 0.4, 1.0), vectors=(Vector("faces", VECTOR),))
    assert face.detect([PICTURE]) == [[expected]]


def test_a_face_that_is_too_poor_to_be_told_has_no_vector():
    face = Face(FaceConfig(), infer=lambda samples: [[Found((0.1, 0.1, 0.2, 0.2), 0.92, None)]])
    ((found,),) = face.detect([PICTURE])
    assert found.vectors == () and found.box == (0.1, 0.1, 0.2, 0.2)


def test_a_doubtful_face_is_left_out():
    face = Face(FaceConfig(floor=0.95), infer=lambda samples: [[Found((0.1, 0.1, 0.2, 0.2), 0.94, None)]])
    assert face.detect([PICTURE]) == [[]]


def vectors(*files):
    found = real("face").detect([picture(f"faces/{file}") for file in files])
    return [np.array(face.vectors[0].values) for faces in found for face in faces if face.vectors]


def apart(one, other):
    return float(np.linalg.norm(one - other))


class TestWithWeights:
    pytestmark = on_media

    def test_the_same_person_is_nearer_than_six_tenths_and_others_are_not(self):
        obama, obama_again, biden, biden_again, _, _ = people = vectors(
            "obama_1.jpg", "obama_2.jpg", "biden_1.jpg", "biden_2.jpg", "collins_astronaut.png", "hopper_1.jpg"
        )
        assert apart(obama, obama_again) < 0.6 and apart(biden, biden_again) < 0.6
        for i, one in enumerate(people):
            for other in people[i + 1 :]:
                if {id(one), id(other)} not in ({id(obama), id(obama_again)}, {id(biden), id(biden_again)}):
                    assert apart(one, other) > 0.6

    def test_finds_who_stands_in_a_picture_of_two(self):
        obama, biden = vectors("obama_2.jpg", "biden_1.jpg")
        pair = vectors("pair_obama_biden.jpg")
        assert len(pair) == 2
        assert min(apart(face, obama) for face in pair) < 0.6 and min(apart(face, biden) for face in pair) < 0.6

    def test_finds_no_face_where_there_is_none(self):
        files = sorted((MEDIA / "negatives").iterdir())
        assert real("face").detect([picture(file) for file in files]) == [[]] * len(files)

    def test_a_small_face_is_found_but_not_compared(self):
        from PIL import Image

        portrait = Image.fromarray(picture("faces/obama_1.jpg").pixels)
        small = portrait.resize((portrait.width * 110 // portrait.height, 110))
        scene = Image.new("RGB", (320, 240), (90, 90, 90))
        scene.paste(small, (100, 60))
        ((found,),) = real("face").detect([Sample(pixels=np.asarray(scene))])
        assert found.box[2] - found.box[0] < FaceConfig().person_px / 320
        assert found.vectors == ()

    def test_the_box_is_around_the_face(self):
        ((collins,),) = real("face").detect([Face.example()])
        left, top, right, bottom = collins.box
        assert 0.3 < left < right < 0.56 and 0.08 < top < bottom < 0.4  # seen in the picture
