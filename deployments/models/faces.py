"""Face detection, quality and embedding: parts of the face detector's backends."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.errors import SettingsError
from deployments.models import devices, runtime

Pixels = npt.NDArray[np.uint8]  # (height, width, 3) RGB
Points = npt.NDArray[np.float64]  # (5, 2): eyes, nose, corners of the mouth; of a pair the left one first

SHARPNESS_PX = 112  # longer side of a face when its sharpness is measured
EYES_TO_NOSE = 1.6  # distance of the eyes over the length of the nose's tip before them


@dataclass(frozen=True, slots=True)
class Seen:
    """A detected face in pixels of the picture; the box may exceed its edges."""

    box: tuple[float, float, float, float]
    score: float
    points: Points

    @property
    def shorter_px(self) -> float:
        """The shorter side of its box, in pixels."""
        return min(self.box[2] - self.box[0], self.box[3] - self.box[1])


Find = Callable[[Pixels], list[Seen]]
Represent = Callable[[Sequence[Pixels]], list[tuple[float, ...]]]

# weights of each network: file name, and where it is published
FILES: Mapping[str, tuple[str, str]] = {
    "yunet": (
        "face_detection_yunet_2023mar.onnx",
        "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
    ),
    "retinaface": (
        "retinaface.pth",
        "https://github.com/serengil/deepface_models/releases/download/v1.0/retinaface.pth",
    ),
    "Facenet512": (
        "facenet512_weights.pth",
        "https://github.com/serengil/deepface_models/releases/download/v1.0/facenet512_weights.pth",
    ),
    "Dlib": (
        "dlib_face_recognition_resnet_model_v1.dat",
        "https://dlib.net/files/dlib_face_recognition_resnet_model_v1.dat.bz2",
    ),
}


def mtcnn(face_px: int, floor: float) -> Find:
    """MTCNN (Zhang et al. 2016, arXiv:1604.02878) of facenet-pytorch, with its weights (MIT)."""
    runtime.torch_on_one_thread()
    with runtime.quiet(), runtime.without_compiler():
        from facenet_pytorch import MTCNN

        network = MTCNN(keep_all=True, min_face_size=face_px, device=devices.device())

    def find(pixels: Pixels) -> list[Seen]:
        boxes, scores, points = network.detect(np.ascontiguousarray(pixels), landmarks=True)
        if boxes is None:
            return []
        found = (
            Seen(_box(box), float(score), np.asarray(five, float))
            for box, score, five in zip(boxes, scores, points, strict=True)
        )
        return [face for face in found if face.score >= floor]

    return find


def yunet(graph: Path, face_px: int, floor: float) -> Find:
    """YuNet (Wu et al. 2023, doi:10.1007/s11633-023-1423-y; MIT) of OpenCV, on the CPU.

    Pictures are scaled to 640 px, as in DeepFace: it was trained for faces of 10 to 300 px.
    """
    import cv2

    longest_px = 640
    cv2.setNumThreads(1)
    network = cv2.FaceDetectorYN.create(str(graph), "", (longest_px, longest_px), floor)

    def find(pixels: Pixels) -> list[Seen]:
        scale = min(1.0, longest_px / max(pixels.shape[:2]))
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        shrunk = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
        network.setInputSize(size)
        _, rows = network.detect(np.ascontiguousarray(shrunk[:, :, ::-1]))
        faces = []
        for left, top, width, height, *points, score in [] if rows is None else rows / scale:
            box = _box((left, top, left + width, top + height))
            # the score was divided too
            faces.append(Seen(box, min(1.0, float(score * scale)), np.asarray(points, float).reshape(5, 2)))
        return [face for face in faces if face.shorter_px >= face_px]

    return find


def retinaface(face_px: int, floor: float) -> Find:
    """RetinaFace (Deng et al. 2020, arXiv:1905.00641) with ResNet-50, of the package retina-face, on torch.

    It takes its weights from DEEPFACE_HOME. They are converted from InsightFace's (serengil/retinaface#10), which are
    for research only.
    """
    runtime.torch_on_one_thread()
    with runtime.quiet():
        import torch
        from retinaface import RetinaFace

        network = RetinaFace.build_model().to(devices.device())

    def model(pictures: Any) -> list[Any]:  # the package itself stays on the CPU
        with torch.inference_mode():
            return [part.cpu() for part in network(pictures.to(devices.device()))]

    def find(pixels: Pixels) -> list[Seen]:
        found: Mapping[str, Any] = RetinaFace.detect_faces(
            pixels[:, :, ::-1], threshold=floor, model=model, allow_upscaling=False
        )
        names = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")  # the person's own right and left
        faces = (
            Seen(
                _box(face["facial_area"]),
                float(face["score"]),
                np.asarray([face["landmarks"][name] for name in names], float),
            )
            for face in found.values()
        )
        return [face for face in faces if face.shorter_px >= face_px]

    return find


def _box(sides: Any) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(side) for side in sides)
    return left, top, right, bottom


def upright(pixels: Pixels, face: Seen) -> Pixels:
    """The face cropped from its picture, rotated about its centre until the eyes are level, as in DeepFace."""
    import cv2

    left, top, right, bottom = face.box
    width, height = max(1, round(right - left)), max(1, round(bottom - top))
    middle = ((left + right) / 2, (top + bottom) / 2)
    turn = cv2.getRotationMatrix2D(middle, _tilt_deg(face.points), 1.0)
    turn[:, 2] += np.subtract((width / 2, height / 2), middle)
    return np.asarray(cv2.warpAffine(pixels, turn, (width, height), flags=cv2.INTER_CUBIC), np.uint8)


def sharpness(face: Pixels) -> float:
    """The variance of the Laplacian (Pech-Pacheco et al. 2000) of an upright face, scaled to SHARPNESS_PX, in grey."""
    import cv2

    scale = SHARPNESS_PX / max(face.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    size = (max(1, round(face.shape[1] * scale)), max(1, round(face.shape[0] * scale)))
    grey = cv2.cvtColor(cv2.resize(face, size, interpolation=how), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def turned_deg(points: Points) -> float:
    """The larger of yaw and roll of a face in degrees, estimated from the positions of eyes and nose."""
    eyes, nose = points[:2], points[2]
    along = (eyes[1] - eyes[0]) / (np.linalg.norm(eyes[1] - eyes[0]) or 1.0)
    aside = float((nose - eyes.mean(axis=0)) @ along) * EYES_TO_NOSE
    apart = float(np.linalg.norm(eyes[1] - eyes[0]))
    return max(abs(_tilt_deg(points)), float(np.degrees(np.arctan2(abs(aside), apart))))


def _tilt_deg(points: Points) -> float:
    return float(np.degrees(np.arctan2(points[1, 1] - points[0, 1], points[1, 0] - points[0, 0])))


def deepface(recognizer: str, network: Path) -> Represent:
    """DeepFace's network of that name, such as Facenet512: aligned faces of any size in, one vector for each out."""
    os.environ["DEEPFACE_BACKEND_ENGINE"] = "pytorch"
    os.environ.setdefault("DEEPFACE_LOG_LEVEL", "40")  # errors
    deepface_home(network)
    runtime.torch_on_one_thread()
    with runtime.quiet():
        from deepface import DeepFace

        DeepFace.build_model(recognizer)

    def represent(chips: Sequence[Pixels]) -> list[tuple[float, ...]]:
        pictures = [chip[:, :, ::-1] for chip in chips]
        if devices.device() == "cuda" and recognizer != "Dlib":
            pictures += [np.zeros_like(pictures[0])] * (devices.bucket(len(chips), 16) - len(chips))
        answers = DeepFace.represent(
            pictures, model_name=recognizer, detector_backend="skip", enforce_detection=False, align=False
        )
        if len(pictures) > 1:  # a list of faces for each picture, but for a single one the list itself
            answers = [face for (face,) in answers]
        values: npt.NDArray[Any] = np.asarray([answer["embedding"] for answer in answers[: len(chips)]], float)
        return [tuple(row) for row in (values if recognizer == "Dlib" else runtime.unit(values)).tolist()]

    return represent


def file(place: Path, of: str) -> Path:
    """The file of that network, which is `place` or in it. SettingsError if it is missing."""
    name, source = FILES[of]
    path = place / name if place.is_dir() else place
    if path.name == name and path.is_file():
        return path
    raise SettingsError(f"detectors.face: {of} needs {name}; {place} has none. Put it there, from {source}")


def deepface_home(network: Path) -> None:
    """Link the file into the folder to which DeepFace and retina-face would download it, and set DEEPFACE_HOME."""
    os.environ["DEEPFACE_HOME"] = str(runtime.cache_folder("deepface"))
    link = runtime.cache_folder("deepface", ".deepface", "weights") / network.name
    fresh = link.with_name(f"{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(network.absolute())
    os.replace(fresh, link)
