"""The README and docs/ match the code: commands, files, links and anchors exist; tables list every detector."""

import re

from deployments.detector import names
from tests.app.browser.pages.places import PLACES
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()


def first_cells(page: str) -> list[str]:
    """The first cell of every table row that starts with a single word."""
    return [cell for cell in re.findall(r"^\| (\w+) \|.*$", page, re.MULTILINE) if cell != "detector"]


def test_the_readme_lists_every_detector():
    assert set(first_cells(README)) & set(names()) == set(names())


def test_docs_list_every_detector_with_its_weights():
    page = (ROOT / "docs" / "detectors.md").read_text()
    assert [row for row in first_cells(page) if row in names()] == names()
    locked = (ROOT / "requirements.lock").read_text()
    for package in re.findall(r"`([a-z0-9-]+)`", "".join(re.findall(r"^\| \w+ \|.*$", page, re.MULTILINE))):
        if package != "-part2":
            assert f"\n{package}==" in locked, package


def test_the_tree_in_architecture_md_lists_every_folder_and_no_others():
    (tree,) = re.findall(r"## The folders\n\n```\n(.*?)```", (ROOT / "docs" / "architecture.md").read_text(), re.DOTALL)
    documented, package = set(), ""
    for line in tree.splitlines():
        for name in re.findall(r"[\w.]+(?:/|\.yaml)", line.split("  ")[0] or line.strip().split("  ")[0]):
            package = name if not line.startswith(" ") else package
            documented.add(name if not line.startswith(" ") else package + name)
    assert all((ROOT / name).exists() for name in documented), documented
    for package in ("cluster", "deployments", "pipelines"):
        folders = {f"{package}/{path.parent.name}/" for path in (ROOT / package).glob("*/__init__.py")}
        assert folders <= documented, folders - documented


def test_the_commands_of_readme_and_docs_exist():
    from typer.main import get_command

    import raysift

    known = set(get_command(raysift.cli).commands)
    pages = "\n".join(page.read_text() for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))))
    assert set(re.findall(r"^raysift (\w+)", pages, re.MULTILINE)) <= known
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", pages)) <= targets


def test_every_relative_link_in_readme_and_docs_resolves():
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_images_of_the_readme_exist():
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert pictures and all((ROOT / picture).stat().st_size > 10_000 for picture in pictures)


def test_every_page_of_the_app_has_a_small_picture_which_is_shown_and_the_readme_shows_three():
    pictures = ROOT / "docs" / "pictures" / "pages"
    shown = re.findall(r"\(pictures/pages/(\w+)\.webp\)", (ROOT / "docs" / "pages.md").read_text())
    assert sorted(shown) == sorted(place.name for place in PLACES)
    files = {path.name for path in pictures.iterdir()}
    assert files == {f"{place.name}.{suffix}" for place in PLACES for suffix in ("webp", "txt")}
    assert max(path.stat().st_size for path in pictures.iterdir()) < 150_000
    assert len(set(re.findall(r"\(docs/pictures/pages/(\w+)\.webp\)", README)) & set(shown)) == 3


def test_every_weight_package_has_the_version_of_the_lock_file():
    from deployments.detector import detector_class

    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    for name in names():
        for package, version in re.findall(r"package:([^=]+)==([^/]+)", detector_class(name).Config().model):
            assert locked[package] == version


def test_ci_runs_the_readmes_test_command_and_nothing_else():
    assert (ROOT / ".ci" / "run").read_text().strip().endswith("exec make test")


def test_commands_files_and_anchors_in_launching_md_exist():
    from typer.main import get_command

    import raysift

    page = (ROOT / "docs" / "launching.md").read_text()
    known = set(get_command(raysift.cli).commands)
    assert set(re.findall(r"(?:^|['`]|exec [\w/-]+ )raysift ([a-z]+)", page, re.MULTILINE)) <= known
    files = re.findall(r"\b(?:cluster|k8s|tests|docs|commands|deployments)/[\w./-]*\w", page)
    assert files and all((ROOT / file).exists() for file in files), [f for f in files if not (ROOT / f).exists()]
    anchors = {
        re.sub(r"[^\w -]", "", line.strip("# ").lower()).replace(" ", "-") for line in page.splitlines() if "#" in line
    }
    for link in re.findall(r"\]\(([^)]+)\)", page):
        file, _, anchor = link.partition("#")
        assert (ROOT / "docs" / file).exists() if file else anchor in anchors, link
