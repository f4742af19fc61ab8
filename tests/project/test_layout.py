"""The layout of the code: which packages are imported, what an import loads, the sizes of folders and modules."""

import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from tests.support.paths import ROOT

MAX_MODULES, MAX_LINES = 14, 300  # per folder, per module
OURS = ("cluster", "deployments", "pipelines", "commands", "app", "bench", "tests")
MODULES = sorted(path for folder in OURS for path in (ROOT / folder).rglob("*.py"))


def test_no_folder_has_too_many_modules():
    sizes = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    assert {str(folder.relative_to(ROOT)): n for folder, n in sizes.items() if n > MAX_MODULES} == {}


def test_no_module_is_too_long():
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in [*MODULES, ROOT / "raysift.py"]
    }
    assert {module: lines for module, lines in sizes.items() if lines > MAX_LINES} == {}


def test_an_installation_has_every_folder_with_code():
    installed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(ROOT) for path in MODULES if path.name == "__init__.py"}
    ours = {".".join(folder.parts) for folder in folders if folder.parts[0] not in ("bench", "tests")}
    assert set(installed) == ours


@pytest.mark.parametrize("package", ["cluster", "deployments", "pipelines", "app", "raysift"])
def test_no_installed_package_shadows_ours(package):
    assert Path(__import__(package).__file__).is_relative_to(ROOT)


def test_importing_the_command_line_loads_no_model_library_no_ray_and_no_numpy():
    heavy = "{'ray', 'torch', 'transformers', 'whisperx', 'deepface', 'streamlit', 'chromadb', 'onnxruntime'}"
    libraries = "{'numpy', 'pyarrow', 'fsspec', 'PIL', 'duckdb', 'boto3'}"
    program = f"import sys, raysift; print(sorted(({heavy} | {libraries}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
