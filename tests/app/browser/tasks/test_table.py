"""The table of docs/design/tasks.md has a row for each task that is tested here, and no other."""

import ast
from pathlib import Path

from tests.app.browser.tasks.hands import table


def test_the_table_has_every_task_that_is_tested_and_no_other():
    modules = [path for path in Path(__file__).parent.glob("test_*.py") if path.name != Path(__file__).name]
    tested = [
        node.name
        for path in modules
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert sorted(tested) == sorted(table()) and len(tested) == 10
