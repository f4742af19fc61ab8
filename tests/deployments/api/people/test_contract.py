"""The fake API of the app's tests and the real one group the same faces, and correct them alike."""

from starlette.testclient import TestClient

from cluster.people.api_types import Corrected, GroupPage, PeoplePage, TakenBack
from tests.support.local_api import read


def groups(api: TestClient, **params: str) -> PeoplePage:
    """The groups of faces, once all are compared."""
    while True:
        page = read(PeoplePage, api.get("/v1/people/groups", params=params))
        if not page.pending:
            return page


def test_groups_of_faces_are_the_same(fake: TestClient, real: TestClient):
    expected, answer = groups(fake), groups(real)
    assert answer == expected
    assert [group.faces for group in answer.groups] == [15, 15, 15, 7, 7]
    face = answer.groups[1].face
    expected, answer = (read(GroupPage, api.get(f"/v1/people/groups/{face}?size=3")) for api in (fake, real))
    assert answer == expected
    assert (len(answer.faces), answer.appearances[0].spans) == (3, ((0.0, 7.0),))


def test_groups_are_corrected_and_corrections_taken_back(api: TestClient):
    first, second, *_ = groups(api).groups
    of_first, of_second = (f"/v1/people/groups/{group.face}" for group in (first, second))
    done = [api.post(f"{of_first}/name", json={"version": 0, "name": "Ann"})]
    assert api.post(f"{of_first}/name", json={"version": 0, "name": "Bea"}).status_code == 409
    (named,) = groups(api, name="ann").groups
    merge = {"version": named.version, "others": [{"face": second.face, "version": 0}]}
    done.append(api.post(f"{of_first}/merge", json=merge))
    merged = read(GroupPage, api.get(of_second))
    assert (merged.group.name, merged.group.faces, merged.last.what) == ("Ann", 30, "merged")
    chosen = {"version": merged.group.version, "faces": [merged.faces[5].id]}
    done.append(api.post(f"{of_first}/split", json=chosen))
    chosen["version"] = groups(api, name="Ann").groups[0].version
    chosen["faces"] = [merged.faces[9].id]
    done.append(api.post(f"{of_first}/reject", json={**chosen, "reason": "face"}))
    assert (groups(api).no_faces, groups(api, name="Ann").groups[0].faces) == (1, 28)
    for answer in reversed(done):
        corrected = read(Corrected, answer)
        undone = api.post(f"/v1/people/corrections/{corrected.correction}/undo")
        assert read(TakenBack, undone).faces == corrected.faces
    assert groups(api).groups[:2] == tuple(
        before.model_copy(update={"version": now.version})
        for before, now in zip((first, second), groups(api).groups, strict=False)
    )
