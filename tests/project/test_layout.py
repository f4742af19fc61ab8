"""The layout of the code: whose packages are imported, what an import loads, how large folders and modules are."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.paths import ROOT

MOST_MODULES, MOST_LINES = 14, 300  # of a folder, of a module
OURS = ("cluster", "deployments", "pipelines", "commands", "app", "bench", "tests")
MODULES = sorted(path for folder in OURS for path in (ROOT / folder).rglob("*.py"))


def test_no_folder_holds_more_modules_than_a_reader_takes_in():
    sizes = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    assert {str(folder.relative_to(ROOT)): n for folder, n in sizes.items() if n > MOST_MODULES} == {}


def test_no_module_is_longer_than_a_reader_takes_in():
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in [*MODULES, ROOT / "raysift.py"]
    }
    assert {module: lines for module, lines in sizes.items() if lines > MOST_LINES} == {}


@pytest.mark.parametrize("package", ["cluster", "deployments", "pipelines", "app", "raysift"])
def test_a_package_of_a_strangers_name_does_not_take_our_place(package):
    assert Path(__import__(package).__file__).is_relative_to(ROOT)


def test_importing_the_command_line_loads_no_model_library_and_no_ray():
    heavy = "{'ray', 'torch', 'transformers', 'whisperx', 'deepface', 'streamlit', 'chromadb', 'onnxruntime'}"
    program = f"import sys, raysift; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
