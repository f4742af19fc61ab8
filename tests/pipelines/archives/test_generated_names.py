"""Names of members over generated strings: each is a path below its container, and no two are equal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.archives.names import Unique, clean, code_page
from tests.support.generated import thorough

pytestmark = pytest.mark.chaos

PIECES = ["/", "\\", "..", ".", "\0", "a", "a.jpg", " (2)", "C:", "é", "\udc80"]
names = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=8).map("".join)


@thorough
@given(names)
def test_a_cleaned_name_stays_below_its_container(name):
    cleaned = clean(name)
    parts = cleaned.split("/")
    assert cleaned and not {"", ".", ".."} & set(parts)
    assert "\0" not in cleaned and "\\" not in cleaned
    assert cleaned.encode("utf-8", "surrogateescape"), "a URI can hold it"
    assert clean(cleaned) == cleaned


@thorough
@given(st.lists(names.map(clean), max_size=20))
def test_members_of_a_container_have_different_names_below_it(cleaned):
    unique = Unique()
    made = [unique(name) for name in cleaned]
    assert len(set(made)) == len(made)
    assert [clean(name) for name in made] == made


@thorough
@given(st.lists(st.binary(max_size=30), max_size=5))
def test_bytes_of_any_code_page_become_text(raw):
    encoding = code_page(raw)
    for name in raw:
        assert isinstance(name.decode(encoding, "replace"), str)
