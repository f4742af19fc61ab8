"""The links of a file's page: to its list, and to the files beside it."""

from urllib.parse import parse_qs, parse_qsl, urlsplit

from app.viewing import ways
from cluster.api_types import Neighbours
from tests.support.fakes.files import FOLDER, file


def listed(link: str | None) -> list[tuple[str, str]]:
    """The list that a link to a file names."""
    return parse_qsl(parse_qs(urlsplit(link or "").query)["in"][0])


def test_a_files_neighbours_come_from_its_addresss_list_else_its_case_else_its_folder():
    single = file("a.jpg", "image")
    folder = [("under", f"{FOLDER}/")]
    assert ways.lists(single, [("kind", "image")], [("case", "harbour")]) == [
        [("kind", "image")],
        [("case", "harbour")],
        folder,
    ]
    assert ways.lists(single, [], []) == [folder]
    member = file("a.zip!x/b.jpg", "image", parent=f"{FOLDER}/a.zip")
    assert ways.lists(member, [], []) == [[("under", f"{FOLDER}/a.zip!")]]


def test_the_way_back_and_to_the_next_file_lead_to_its_page_of_the_list():
    named = [("kind", "image"), ("page", "1")]
    links = ways.ways(named, Neighbours(previous="a" * 32, next="b" * 32, place=60, total=3456), named)
    assert (links["back"], links["place"]) == ("/?kind=image", "60 of 3,456")
    assert listed(links["previous"]) == [("kind", "image")]
    assert listed(links["next"]) == [("kind", "image"), ("page", "2")]


def test_a_file_that_its_addresss_list_does_not_have_leads_back_there_and_on_in_its_folder():
    named, folder = [("q", "harbour")], [("under", f"{FOLDER}/")]
    links = ways.ways(folder, Neighbours(previous=None, next="b" * 32, place=1, total=2), named)
    assert (links["back"], links["where"], links["previous"]) == ("/search?q=harbour", "Search", None)
    assert listed(links["next"]) == folder


def test_the_files_beside_a_hit():
    assert ways.among_hits("b", ["a", "b"]) == Neighbours(previous="a", next=None, place=2, total=2)
    assert ways.among_hits("c", ["a", "b"]) == Neighbours(previous=None, next=None, place=None, total=2)
    links = ways.ways([("q", "x")], Neighbours(previous=None, next="b" * 32, place=1, total=2), [("q", "x")])
    assert (links["back"], listed(links["next"])) == ("/search?q=x", [("q", "x")])
