"""Faces: a box and a vector for each, by which the same person is found again, and the name of an enrolled person."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image
from pydantic import Field, model_validator

from cluster.records import Box, Detection, Modality, Sample, Vector
from deployments.detector import Detector, DetectorConfig, Infer
from deployments.galleries.store import opened
from deployments.galleries.watchlist import FACE, EnrolledPeople, Rejections
from deployments.models import faces, runtime
from deployments.models.boxes import turned_back
from deployments.models.faces import Find, Pixels, Represent, Seen
from deployments.models.turned_faces import SURE, View, turned

# Euclidean distances. Dlib: dlib itself uses 0.6; of the portraits measured, one person's were 0.45 apart at most, two
# persons' 0.66 at least. Facenet512: for vectors of length 1, DeepFace's stricter cosine threshold, 0.30. Not measured.
DISTANCES: Mapping[str, float] = {"Dlib": 0.5, "Facenet512": 0.77}

TURNED = "faces in any turn"  # in the version: 0.1 found upright ones only


class FaceConfig(DetectorConfig):
    """Settings of face. A face that is too poor to be recognised has no vector; its evidence gives the reason.

    The limits were measured with MTCNN and Dlib on six portraits and blurred, shrunk copies of them: from a sharpness
    of 25 on, a face stayed within 0.37 of its sharp original and 0.65 away from other people's; below 15, others came
    as near as 0.40. A face whose estimated turn is 46 degrees still matched itself.
    `finder` and `recognizer` are for the gpu backend. Its defaults name no research-only weights; retinaface's are
    such. Facenet512's are a pickle, read by torch's weights-only unpickler: pin them by a commit or #sha256=.
    """

    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "gpu": {
            "model": "hf:opencv/face_detection_yunet@main/face_detection_yunet_2023mar.onnx + "
            "hf:serengil/deepface@main/facenet512_weights.pth",
            "finder": "yunet",
            "recognizer": "Facenet512",
            "person_score": 0.9,  # MTCNN's scores are nearer to 1 than YuNet's; 0.9 is what DeepFace asks of it
            "gpu_memory_gb": 1.3,
        }
    }

    model: str = (
        "package:facenet-pytorch==2.5.3/facenet_pytorch/data + "
        "package:face-recognition-models==0.3.0/face_recognition_models/models"
    )
    cpus: float = Field(0.2, gt=0)
    floor: float = Field(0.9, ge=0, le=1)
    finder: Literal["mtcnn", "yunet", "retinaface"] = "mtcnn"
    recognizer: Literal["Dlib", "Facenet512"] = "Dlib"
    face_px: int = Field(24, ge=12)  # shorter side of the smallest face that is detected
    person_px: int = Field(40, ge=12)  # shorter side of the smallest face with a vector
    person_score: float = Field(0.97, ge=0, le=1)  # lowest score of a face with a vector
    person_sharpness: float = Field(25.0, ge=0)  # lowest variance of the Laplacian of a face with a vector
    person_deg: float = Field(60.0, ge=0, le=90)  # largest turn or tilt of a face with a vector
    person_distance: float | None = Field(None, gt=0)  # largest of a hit to a photo; None: by DISTANCES
    gallery: str = ""

    @property
    def distance(self) -> float:
        """The largest Euclidean distance of a face to an enrolled photo at which it is that person's."""
        return self.person_distance or DISTANCES[self.recognizer]

    @model_validator(mode="after")
    def _embedded_has_one_pair(self) -> "FaceConfig":
        if self.backend == "embedded" and (self.finder, self.recognizer) != ("mtcnn", "Dlib"):
            raise ValueError("the backend embedded has the finder mtcnn and the recognizer Dlib, no other")
        return self


@dataclass(frozen=True, slots=True)
class Found:
    """A face: its box in fractions of the picture, which may exceed it; its vector, or the reason why it has none."""

    box: Box
    score: float
    vector: tuple[float, ...] | None
    flaw: str | None = None


class _MtcnnDlib:
    """MTCNN (Zhang et al. 2016) detects faces, DeepFace's `Dlib` embeds them: list[Sample] -> list[list[Found]].

    Vectors of 128 values by dlib's ResNet (CC0, dlib.net, Davis King 2017); two faces within a Euclidean distance of
    0.6 are probably one person. Faces are aligned by dlib's five landmarks: DeepFace's own alignment pads the picture
    to four times its area.
    """

    chip_px = 150  # input side of the network

    def __init__(self, config: FaceConfig) -> None:
        _mtcnn, models = runtime.weights(config.model, parts=2)
        self._represent = faces.deepface("Dlib", faces.file(models, "Dlib"))
        with runtime.quiet():
            import dlib
        self._dlib, self._config = dlib, config
        self._find = faces.mtcnn(config.face_px, config.floor)
        self._landmarks = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))

    def __call__(self, samples: list[Sample]) -> list[list[Found]]:
        return _answers(samples, self._find, self._chip, self._represent, self._config)

    def _chip(self, pixels: Pixels, face: Seen) -> Pixels:
        rectangle = self._dlib.rectangle(*(int(side) for side in face.box))
        shape = self._landmarks(pixels, rectangle)
        return np.asarray(self._dlib.get_face_chip(pixels, shape, self.chip_px, 0.25), np.uint8)


class _DeepFace:
    """The finder and DeepFace's recognizer of the config, on torch; faces are aligned as DeepFace does it."""

    def __init__(self, config: FaceConfig) -> None:
        finder, recognizer = runtime.weights(config.model, parts=2)
        network = faces.file(recognizer, config.recognizer)
        if config.finder == "mtcnn":  # its package brings its weights
            self._find = faces.mtcnn(config.face_px, config.floor)
        elif config.finder == "yunet":
            self._find = faces.yunet(faces.file(finder, "yunet"), config.face_px, config.floor)
        else:
            faces.deepface_home(faces.file(finder, "retinaface"))
            self._find = faces.retinaface(config.face_px, config.floor)
        self._represent = faces.deepface(config.recognizer, network)
        self._config = config

    def __call__(self, samples: list[Sample]) -> list[list[Found]]:
        return _answers(samples, self._find, faces.upright, self._represent, self._config)


def _answers(
    samples: list[Sample],
    find: Callable[[Pixels], list[Seen]],
    chip: Callable[[Pixels, Seen], Pixels],
    represent: Represent,
    config: FaceConfig,
) -> list[list[Found]]:
    """Detect faces, rate them, and embed all good ones in common batches; for both backends.

    A picture without a sure upright face is tried turned: its faces are rated and embedded upright, boxes turned back.
    """
    views = [_found_in(np.ascontiguousarray(sample.pixels, np.uint8), find, config) for sample in samples]
    pictures, seen = [view.pixels for view in views], [view.seen for view in views]
    flaws = [[_flaw(pixels, face, config) for face in found] for pixels, found in zip(pictures, seen, strict=True)]
    chips = [
        chip(pixels, face)
        for pixels, found, of in zip(pictures, seen, flaws, strict=True)
        for face, flaw in zip(found, of, strict=True)
        if flaw is None
    ]
    vectors = iter(runtime.in_batches(chips, 16, represent))
    return [
        [
            Found(turned_back(_fractions(face, view.pixels), view.quarters), face.score, vector, flaw)
            for face, flaw in zip(view.seen, of, strict=True)
            for vector in [next(vectors) if flaw is None else None]
        ]
        for view, of in zip(views, flaws, strict=True)
    ]


def _found_in(pixels: Pixels, find: Find, config: FaceConfig) -> View:
    if min(pixels.shape[:2]) < config.face_px:
        return View(pixels, [])
    upright = find(pixels)
    best = max((face.score for face in upright), default=0.0)
    if best >= SURE:
        return View(pixels, upright)
    # a turned face takes the place of a good upright one only if it is surer than those that are found in a wrong turn
    least = SURE if best >= config.person_score else config.person_score
    return turned(pixels, upright, find, config.face_px, least)


def _flaw(pixels: Pixels, face: Seen, config: FaceConfig) -> str | None:
    """The reason why a face gets no vector, None if it gets one; checks that cost little come first."""
    if face.score < config.person_score:
        return f"doubtful (score {face.score:.2f}, {config.person_score} needed)"
    if face.shorter_px < config.person_px:
        return f"too small ({face.shorter_px:.0f} px, {config.person_px} needed)"
    turned = faces.turned_deg(face.points)
    if turned > config.person_deg:
        return f"turned away (about {turned:.0f} degrees, {config.person_deg:.0f} allowed)"
    sharp = faces.sharpness(faces.upright(pixels, face))
    if sharp < config.person_sharpness:
        return f"blurred (sharpness {sharp:.0f}, {config.person_sharpness:.0f} needed)"
    return None


def _fractions(face: Seen, pixels: Pixels) -> Box:
    height, width = pixels.shape[:2]
    left, top, right, bottom = face.box
    return left / width, top / height, right / width, bottom / height


class Face(Detector):
    """One detection "face" for each face, with a vector in the space "faces" if it is good enough to be recognised.

    A face of an enrolled person is followed by a detection of that name, scored 1 minus the distance to the nearest
    photo.
    """

    Config = FaceConfig
    modalities: ClassVar[frozenset[Modality]] = frozenset({"image"})
    detail: ClassVar[bool] = True
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]] = {"embedded": _MtcnnDlib, "gpu": _DeepFace}

    def __init__(self, config: FaceConfig, infer: Infer | None = None) -> None:
        super().__init__(config, infer)
        self.enrolled: EnrolledPeople | None = None
        if config.gallery:
            endpoint = os.environ.get("AWS_ENDPOINT_URL")
            model = self.version(config)
            self.enrolled = EnrolledPeople(config.gallery, endpoint, model, self._embed, config.distance)

    @classmethod
    def version(cls, config: FaceConfig) -> str:
        """The model, and that turned faces are found. Whoever is enrolled, since `raysift people match` compares stored
        vectors without a new scan.
        """
        if config.backend == "embedded":
            return f"{config.model} {TURNED}"
        return f"{config.finder}, {config.recognizer}: {config.model} {TURNED}"

    def _embed(self, pixels: Pixels) -> list[tuple[float, ...]]:
        (found,) = self.infer([Sample(pixels=pixels)])
        return [face.vector for face in found if face.vector is not None]

    @classmethod
    def state(cls, config: FaceConfig) -> str:
        """The settings, the version of the gallery and the rejected faces: hits depend on all of them."""
        if not config.gallery:
            return super().state(config)
        rejected = Rejections(config.gallery, os.environ.get("AWS_ENDPOINT_URL")).paths()
        return f"{super().state(config)} {opened(config.gallery).version()} {rejected}"

    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        """The faces of each picture, each followed by its hit, if any."""
        watch = self.enrolled.watch_list() if self.enrolled else None
        answers = []
        for found in self.infer(samples):
            seen = [_detection(face) for face in found if face.score >= self.config.floor]
            hits = watch.hits(seen) if watch else [None] * len(seen)
            answers.append([detection for pair in zip(seen, hits, strict=True) for detection in pair if detection])
        return answers

    @classmethod
    def example(cls) -> Sample:
        """Eileen Collins, astronaut: NASA's portrait, public domain, as scikit-image ships it."""
        portrait = metadata.distribution("scikit-image").locate_file("skimage/data/astronaut.png")
        with Image.open(str(portrait)) as picture:
            return Sample(pixels=np.asarray(picture.convert("RGB")))


def _detection(face: Found) -> Detection:
    left, top, right, bottom = (float(min(1, max(0, side))) for side in face.box)
    vectors = () if face.vector is None else (Vector("faces", face.vector),)
    evidence = None if face.flaw is None else f"no vector: {face.flaw}"
    return Detection(FACE, min(1.0, face.score), box=(left, top, right, bottom), evidence=evidence, vectors=vectors)
