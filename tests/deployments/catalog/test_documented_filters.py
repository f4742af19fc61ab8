"""The filters in docs/using.md: every alternative of the table, and the examples, are accepted and choose files."""

import re

from cluster.api_queries import AssetFilter, AssetQuery
from deployments.catalog.catalog import Catalog
from tests.support.fakes.files import as_row, files
from tests.support.paths import ROOT
from tests.support.stored import commit

PAGE = (ROOT / "docs" / "using.md").read_text()
SECTION = PAGE[PAGE.index("## Filters") : PAGE.index("## Webhooks")]


def test_the_table_of_parameters_has_every_filter():
    named = set(re.findall(r"^\| (`.*?) \|", SECTION, re.MULTILINE))
    assert set(AssetFilter.model_fields) <= set(re.findall(r"`(\w+)", " ".join(named)))


def test_every_condition_of_the_table_is_one():
    cells = " ".join(re.findall(r"^\| (`.*?) \|", SECTION.split("| alternative |")[1], re.MULTILINE))
    conditions = [text for text in re.findall(r"`([^`]+)`", cells) if text not in ("height", "duration")]
    assert len(conditions) >= 15
    for text in conditions:
        assert AssetFilter(where=(text,)).where == (text,)


def test_the_examples_choose_files(tmp_path):
    catalog = Catalog(":memory:")
    catalog.load(commit(tmp_path, "a.parquet", *(as_row(file, n, "scan") for n, file in enumerate(files()))))
    totals = []
    for line in re.findall(r"^asked (.*)$", SECTION, re.MULTILINE):
        given: dict[str, list[str]] = {}
        for name, value in re.findall(r"--data-urlencode '(\w+)=([^']*)'", line):
            given.setdefault(name, []).append(value)
        single = {name: values[0] for name, values in given.items() if name in ("sort", "score_of")}
        query = AssetQuery(**single, where=tuple(given.get("where", ())))
        totals.append(catalog.assets(query)["total"])
    assert totals == [15, 2, 24, 80]
    catalog.close()
