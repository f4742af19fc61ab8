"""Settings over generated files and variables: a wrong one is refused by a sentence, and no other error escapes."""

import os
from unittest.mock import patch

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import SettingsError
from cluster.renamed import RENAMED
from cluster.settings import PREFIX, Settings, load
from tests.support.generated import thorough

pytestmark = pytest.mark.chaos

keys = st.sampled_from(
    [*Settings.model_fields, *(key.split(".")[0] for key in RENAMED), "host", "port", "roots", "names"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
files = st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace"))
files |= st.dictionaries(keys, values, max_size=4).map(lambda tree: yaml.safe_dump(tree).encode())
files |= values.map(lambda tree: yaml.safe_dump(tree).encode())


@thorough
@given(files)
def test_any_file_is_settings_or_refused(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.yaml").write_bytes(content)
    loaded_or_refused()


@thorough
@given(keys, st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20))
def test_any_variable_is_a_setting_or_refused(tmp_path, monkeypatch, key, value):
    monkeypatch.chdir(tmp_path)
    others = {name: it for name, it in os.environ.items() if not name.startswith(PREFIX)}
    # not by monkeypatch: it would leave the variable that `load` makes of one with a former name
    with patch.dict(os.environ, others | {f"{PREFIX}{key.upper()}": value}, clear=True):
        loaded_or_refused()


def loaded_or_refused():
    try:
        assert isinstance(load(), Settings)
    except SettingsError as error:
        assert str(error)
