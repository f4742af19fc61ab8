"""docs/operations.md: each trouble is provoked by a test that exists, or says that it is not; alerts lead to it."""

import re

import pytest
import yaml

from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text()
TROUBLES = dict(re.findall(r"^### (.+)\n\n((?:(?!^#).*\n?)*)", PAGE, re.MULTILINE))
ALERTS = yaml.safe_load((ROOT / "monitoring" / "alerts.yaml").read_text())["groups"][0]["rules"]


def anchor(heading):
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_there_are_twenty_troubles_or_more():
    assert len(TROUBLES) >= 20


@pytest.mark.parametrize("trouble", TROUBLES)
def test_each_trouble_says_what_to_look_at_what_to_do_and_which_test_provokes_it(trouble):
    text = TROUBLES[trouble]
    assert re.findall(r"^- \*\*(.+?)\*\*", text, re.MULTILINE) == ["Symptom", "Look at", "Do", "Test"]
    (test,) = re.findall(r"^- \*\*Test\*\*: (.+)", text, re.MULTILINE)
    if not test.startswith("none: "):
        file, name = test.strip("`").split("::")
        assert re.search(rf"^\s*(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE)


def test_every_alert_leads_to_a_trouble_that_names_it():
    pages = {anchor(heading): text for heading, text in TROUBLES.items()}
    for alert in ALERTS:
        page, _, heading = alert["annotations"]["runbook"].partition("#")
        assert page == "docs/operations.md" and alert["alert"] in pages[heading]
    assert set(re.findall(r"`(Raysift[A-Z]\w+)`", PAGE)) == {alert["alert"] for alert in ALERTS}


def test_links_within_the_page_lead_to_its_headings():
    headings = {anchor(heading) for heading in re.findall(r"^#+ (.+)", PAGE, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= headings


def test_commands_that_the_page_names_exist():
    from typer.main import get_command

    import raysift

    known = set(get_command(raysift.cli).commands)
    assert set(re.findall(r"(?:`|^)raysift ([a-z]+)", PAGE, re.MULTILINE)) <= known


def test_settings_that_the_page_names_exist():
    from cluster.settings import Settings

    for section, key in re.findall(r"`(scanning|logs|access)\.(\w+)`", PAGE):
        assert key in type(getattr(Settings(), section)).model_fields, f"{section}.{key}"
