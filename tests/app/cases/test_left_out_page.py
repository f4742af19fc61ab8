"""The page of what scans left out: file by file, narrowed by its address."""

from streamlit.testing.v1 import AppTest

from tests.support.fakes.api import FakeApi
from tests.support.pages import Visit, words


def shown(at: AppTest) -> list[tuple[str, str]]:
    """Name and reason of each row."""
    (table,) = at.dataframe
    return [(row["Address"].rpartition("/")[2], row["Reason"]) for row in table.value.to_dict("records")]


def test_each_file_is_listed_with_its_reason(visit: Visit, api: FakeApi):
    api.jobs.begin(["s3://evidence"], state="finished")
    at = visit("left_out", port=api.port)
    assert "9 left out" in words(at)
    assert shown(at)[0] == ("left_0.svg", "it is no image, video or audio")
    assert shown(at)[-1] == ("left_2", "it is a link")


def test_an_address_with_a_reason_shows_those_of_this_reason_and_suffix(visit: Visit, api: FakeApi):
    api.jobs.begin(["s3://evidence"], state="finished")
    at = visit("left_out", port=api.port, reason="it is a link")  # without a suffix, which is not in an address
    assert "3 left out, no suffix: it is a link" in words(at).replace("&#58;", ":")
    assert [name for name, _ in shown(at)] == ["left_0", "left_1", "left_2"]


def test_without_a_scan_nothing_was_left_out(visit: Visit):
    at = visit("left_out")
    assert "No scan has left anything out." in words(at)
    assert not at.dataframe
