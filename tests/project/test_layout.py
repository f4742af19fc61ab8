"""The house: our packages are ours, importing does nothing, and the README tells the truth of them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.detector import names
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("package", ["cluster", "deployments", "pipelines", "app", "raysift"])
def test_a_package_of_a_strangers_name_does_not_take_our_place(package):
    assert Path(__import__(package).__file__).is_relative_to(ROOT)


def test_importing_the_command_line_loads_no_model_library_and_no_ray():
    heavy = "{'ray', 'torch', 'transformers', 'whisperx', 'deepface', 'streamlit', 'chromadb', 'onnxruntime'}"
    program = f"import sys, raysift; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_readmes_table_lists_every_detector_with_its_weights():
    rows = re.findall(r"^\| (\w+) \|.*$", README, re.MULTILINE)[1:]
    assert rows == names()
    locked = (ROOT / "requirements.lock").read_text()
    for package in re.findall(r"`([a-z0-9-]+)`", "".join(re.findall(r"^\| \w+ \|.*$", README, re.MULTILINE))):
        if package != "-part2":
            assert f"\n{package}==" in locked, package


def test_the_readmes_tree_names_what_is_there():
    (tree,) = re.findall(r"## The tree\n\n```\n(.*?)```", README, re.DOTALL)
    for line in tree.splitlines():
        assert (ROOT / line.split()[0]).exists(), line


def test_the_readmes_commands_exist():
    from typer.main import get_command

    import raysift

    known = set(get_command(raysift.cli).commands)
    assert set(re.findall(r"^raysift (\w+)", README, re.MULTILINE)) <= known
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", README)) <= targets


def test_the_readmes_pictures_are_there():
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert pictures and all((ROOT / picture).stat().st_size > 10_000 for picture in pictures)


def test_every_weight_is_pinned_to_what_the_lock_file_installs():
    from deployments.detector import detector_class

    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    for name in names():
        for package, version in re.findall(r"package:([^=]+)==([^/]+)", detector_class(name).Config().model):
            assert locked[package] == version


def test_ci_runs_the_readmes_test_command_and_nothing_else():
    assert (ROOT / ".ci" / "run").read_text().strip().endswith("exec make test")


def test_what_launching_names_is_there():
    from typer.main import get_command

    import raysift

    told = (ROOT / "docs" / "launching.md").read_text()
    known = set(get_command(raysift.cli).commands)
    assert set(re.findall(r"(?:^|['`]|exec [\w/-]+ )raysift ([a-z]+)", told, re.MULTILINE)) <= known
    files = re.findall(r"\b(?:cluster|k8s|tests|docs|commands|deployments)/[\w./-]*\w", told)
    assert files and all((ROOT / file).exists() for file in files), [f for f in files if not (ROOT / f).exists()]
    anchors = {
        re.sub(r"[^\w -]", "", line.strip("# ").lower()).replace(" ", "-") for line in told.splitlines() if "#" in line
    }
    for link in re.findall(r"\]\(([^)]+)\)", told):
        page, _, anchor = link.partition("#")
        assert (ROOT / "docs" / page).exists() if page else anchor in anchors, link
