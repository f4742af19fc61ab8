"""The routes of decisions and reviews: who decides is who asks, conflicts are problems, what is done is recorded."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from cluster.api_types import ProblemType
from cluster.decisions.api_types import AllWritten, AssetDecisions, Decision, DecisionChanged, DecisionPage, Progress
from cluster.records import asset_id
from tests.support.local_api import LocalApi
from tests.support.stored import commit, found, row

FOLDER = "s3://reviewed/case 1"
URIS = [f"{FOLDER}/{n}.jpg" for n in range(5)]
IDS = [asset_id(uri) for uri in URIS]
QUEUE = {"filter": {"under": [FOLDER]}}


@pytest.fixture(scope="module")
def client(running: LocalApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    rows = [row(uri, found("nsfw", "nude", 0.9 - n / 10), unit=n) for n, uri in enumerate(URIS)]
    running.catalog.load(commit(tmp_path_factory.mktemp("results"), "reviews.parquet", *rows))
    with TestClient(running.app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def ann(running: LocalApi) -> dict[str, str]:
    return {"Authorization": f"Bearer {running.store.add_key('Ann', 'reviewer')}"}


@pytest.fixture(scope="module")
def bob(running: LocalApi) -> dict[str, str]:
    return {"Authorization": f"Bearer {running.store.add_key('Bob', 'reviewer')}"}


def put(client: TestClient, headers: dict[str, str], n: int, **new: object):
    return client.put(f"/v1/assets/{IDS[n]}/decision", headers=headers, json={"version": 0, "label": "relevant"} | new)


def test_a_decision_is_the_askers_and_is_recorded(client, running, ann):
    answer = put(client, ann, 0, note="on the left", tags=["car"])
    assert answer.status_code == 200
    decision = Decision.model_validate_json(answer.content)
    assert (decision.who, decision.version, decision.models) == ("Ann", 1, {"nsfw": "m1"})
    state = AssetDecisions.model_validate_json(client.get(f"/v1/assets/{IDS[0]}/decision", headers=ann).content)
    assert (state.decision, state.version) == (decision, 1)
    record = [record for record in running.audit.records() if record["what"] == "decided"][-1]
    assert (record["who"], record["of"], record["assets"]) == ("Ann", "relevant", [IDS[0]])
    assert "on the left" not in str(record)


def test_a_reviewer_cannot_decide_in_anothers_name(client, ann):
    refused = put(client, ann, 1, who="Bob")
    assert refused.status_code == 422 and "body.who" in refused.json()["detail"]


def test_who_decides_on_what_was_decided_meanwhile_gets_a_problem_with_it(client, ann, bob):
    put(client, ann, 1)
    answer = put(client, bob, 1, label="not relevant")
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    problem = DecisionChanged.model_validate_json(answer.content)
    assert problem.type == ProblemType.DECISION_CHANGED and problem.present is not None
    assert (problem.present.who, problem.present.label, problem.present.version) == ("Ann", "relevant", 1)
    assert "Ann has decided 'relevant'" in problem.detail
    assert put(client, bob, 1, label="not relevant", version=1).status_code == 200


def test_an_undo_is_recorded_and_needs_the_present_version(client, running, ann):
    put(client, ann, 2, label="unsure")
    path = f"/v1/assets/{IDS[2]}/decision/undo"
    assert client.post(path, headers=ann, json={"version": 0}).status_code == 409
    undecided = client.post(f"/v1/assets/{IDS[3]}/decision/undo", headers=ann, json={"version": 5})
    assert undecided.status_code == 409 and undecided.json()["present"] is None
    restored = client.post(path, headers=ann, json={"version": 1})
    assert (restored.status_code, restored.json()["label"], restored.json()["undo"]) == (200, None, True)
    assert client.post(path, headers=ann, json={"version": 2}).status_code == 404
    record = [record for record in running.audit.records() if record["what"] == "decision taken back"][-1]
    assert (record["who"], record["of"]) == ("Ann", IDS[2])


def test_a_label_that_is_not_in_the_settings_is_refused_with_those_that_are(client, ann):
    refused = put(client, ann, 3, label="harmless")
    assert refused.status_code == 422
    assert "relevant, not relevant, unsure" in refused.json()["detail"]


def test_several_files_at_once_have_an_outcome_each(client, ann, bob):
    put(client, bob, 3)
    new = [{"asset": asset, "version": 0, "label": "unsure", "tags": ["x"]} for asset in (IDS[3], IDS[4], "0" * 32)]
    answer = client.post("/v1/decisions", headers=ann, json={"decisions": new})
    outcomes = AllWritten.model_validate_json(answer.content).outcomes
    assert [one.outcome for one in outcomes] == ["changed", "stored", "not found"]
    twice = client.post("/v1/decisions", headers=ann, json={"decisions": [new[0], new[0]]})
    assert twice.status_code == 422 and "named twice" in twice.json()["detail"]


def test_decisions_are_listed_in_pages_and_those_of_another_case_are_not(client, running, ann):
    for n in range(5):
        version = client.get(f"/v1/assets/{IDS[n]}/decision", headers=ann).json()["version"]
        put(client, ann, n, version=version)
    first = DecisionPage.model_validate_json(client.get("/v1/decisions?size=3", headers=ann).content)
    assert [decision.asset for decision in first.items] == IDS[4:1:-1]
    rest = client.get("/v1/decisions", headers=ann, params={"size": 3, "after": first.next}).json()
    assert [decision["asset"] for decision in rest["items"]][:2] == IDS[1::-1]
    elsewhere = {"Authorization": f"Bearer {running.store.add_key('x', 'reviewer', ('s3://elsewhere',))}"}
    assert client.get("/v1/decisions?history=true", headers=elsewhere).json() == {"items": [], "next": None}
    assert put(client, elsewhere, 0, version=9).status_code == 404


def test_a_review_goes_through_a_queue_and_shows_its_progress(client, ann, bob):
    for n in (0, 1):
        version = client.get(f"/v1/assets/{IDS[n]}/decision", headers=ann).json()["version"]
        put(client, ann, n, version=version)
    queue = QUEUE | {"second": True, "decided_by": "Ann"}
    one = client.post("/v1/review/next", headers=bob, json=queue).json()
    assert one["asset"] in IDS and one["version"] > 0 and one["until"]
    assert client.post("/v1/review/release", headers=bob, json={"asset": one["asset"]}).status_code == 204
    progress = Progress.model_validate_json(client.post("/v1/review/progress", headers=bob, json=QUEUE).content)
    assert (progress.total, progress.done) == (5, 5) and progress.last_hour >= progress.own_last_hour
    assert client.post("/v1/review/next", headers=bob, json=QUEUE).json()["asset"] is None
    wrong = client.post("/v1/review/next", headers=bob, json={"decided_by": "Ann"})
    assert wrong.status_code == 422 and "goes with `second`" in wrong.json()["detail"]


def test_texts_that_are_no_unicode_are_the_clients_error(client, ann):
    headers = ann | {"Content-Type": "application/json"}
    for body in ('{"filter": {"label": ["\\ud800"]}}', '{"second": true, "decided_by": "\\ud800"}'):
        assert client.post("/v1/review/next", headers=headers, content=body).status_code == 422, body


def test_the_queue_of_a_case_has_only_its_files(client, running, ann):
    operator = {"Authorization": f"Bearer {running.store.add_key('Olga', 'operator')}"}
    case = {"name": "half", "title": "", "folders": URIS[:2]}
    assert client.post("/v1/cases", headers=operator, json=case).status_code == 200
    queue = {"filter": {"case": "half"}}
    assert client.post("/v1/review/progress", headers=ann, json=queue).json()["total"] == 2
    second = queue | {"second": True}
    assert client.post("/v1/review/next", headers=ann, json=second).json()["asset"] in (*IDS[:2], None)
    for route in ("next", "progress"):
        unknown = client.post(f"/v1/review/{route}", headers=ann, json={"filter": {"case": "nothing"}})
        assert unknown.status_code == 404
    assert client.delete("/v1/cases/half", headers=operator).status_code == 204


def test_the_api_documents_a_conflict_as_a_problem(client, ann):
    paths = client.get("/openapi.json", headers=ann).json()["paths"]
    conflict = paths["/v1/assets/{asset}/decision"]["put"]["responses"]["409"]
    assert list(conflict["content"]) == ["application/problem+json"]
