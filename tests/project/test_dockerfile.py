"""Static checks of the Dockerfile: copied files exist, and versions match the Makefile and the lock file."""

import re
import tomllib

import pytest

from tests.launch.compose_file import Image
from tests.support.paths import ROOT

TEXT = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def stages() -> dict[str, str]:
    """Stage name -> text of the stage."""
    parts = re.split(r"^FROM (?P<base>\S+) AS (?P<name>\w+)$", TEXT, flags=re.M)[1:]
    return dict(zip(parts[1::3], parts[2::3], strict=True))


def bases() -> dict[str, str]:
    """Stage name -> the image or stage that it is built from."""
    return {name: base for base, name in re.findall(r"^FROM (\S+) AS (\w+)$", TEXT, re.M)}


def test_both_targets_use_the_same_stages():
    assert list(stages()) == ["base", "environment", "cpu", "gpu"]
    assert bases() == {"base": "python:3.11-slim-bookworm", "environment": "base", "cpu": "base", "gpu": "cpu"}


def test_python_and_uv_versions_match_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    python = re.search(r"^PYTHON \?= python(\S+)$", makefile, re.M)[1]
    assert bases()["base"].startswith(f"python:{python}-")
    assert set(re.findall(r"/lib/python([\d.]+)/", TEXT)) == {python}
    assert re.findall(r"\buv==(\S+)", TEXT) == re.findall(r"\buv==(\S+)", makefile)


def test_copied_paths_exist_and_the_lock_file_is_copied_before_the_code():
    for sources in re.findall(r"^COPY (?!--)(.+) \S+$", TEXT, re.M):
        assert all((ROOT / source).exists() for source in sources.split()), sources
    for stage in re.findall(r"--from=(\w+)", TEXT):
        assert stage in stages()
    assert "--require-hashes -r /tmp/requirements.lock" in stages()["environment"]
    assert TEXT.index("COPY requirements.lock") < TEXT.index("COPY . .")


def test_the_separate_layer_contains_packages_of_the_lock_file():
    lock = (ROOT / "requirements.lock").read_text()
    for folder in re.search(r"&& mv (.+) /opt/torch/", TEXT)[1].split():
        assert re.search(rf"^{folder}(-\w+)*==", lock, re.M), folder


def test_the_image_contains_the_code_and_no_local_files():
    packages = {name.partition(".")[0] for name in PROJECT["tool"]["setuptools"]["packages"]}
    modules = {f"{name}.py" for name in PROJECT["tool"]["setuptools"]["py-modules"]}
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
    assert set(Image.read().code) == packages | modules | {"requirements.lock"}


def test_the_image_installs_the_raysift_command():
    module, function = PROJECT["project"]["scripts"]["raysift"].split(":")
    script = rf"#!/opt/raysift/bin/python\nfrom {module} import {function}\n{function}()\n"
    assert f"printf '{script}' > /usr/local/bin/raysift" in TEXT


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_nothing_runs_as_root(target):
    users = re.findall(r"^USER (.+)$", stages()["cpu"] + (stages()["gpu"] if target == "gpu" else ""), re.M)
    assert users[-1] == "1000", "not a numeric user: Kubernetes' runAsNonRoot cannot check a name"
