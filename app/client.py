"""The app's client of the HTTP API: typed responses, and errors with messages for the user."""

from collections.abc import Callable, Mapping
from typing import IO, Any, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from cluster.access.api_types import Viewer
from cluster.api_job_types import JobDetails, JobInfo, JobName
from cluster.api_queries import AssetFilter, AssetQuery, By, LikenessQuery, ScanRequest, SearchQuery
from cluster.api_types import AssetPage, DetectorInfo, Facets, File, Hit, Hits, Problem, Upload
from cluster.cases.api_types import CaseInfo, NewCase
from cluster.cases.overview import JobsOverview, Overview, OverviewQuery
from cluster.decisions.api_types import (
    AllWritten,
    AssetDecisions,
    Decision,
    DecisionPage,
    NewDecision,
    NewDecisions,
    NextReview,
    Progress,
    ReviewItem,
    ReviewQueue,
)
from cluster.people.api_types import Corrected, GroupPage, GroupQuery, PeoplePage, PeopleQuery, TakenBack
from cluster.records import Priority

GroupChange = Literal["name", "merge", "split", "reject"]
Change = Literal["cancel", "resume", "retry-failed"]
Answer = TypeVar("Answer")

_ANALYZE_TIMEOUT_S = 900.0  # a long recording on a CPU takes minutes
_TIMEOUT_S = 30.0
_ALIVE_TIMEOUT_S = 2.0
_DETECTORS = TypeAdapter(list[DetectorInfo])
_JOBS = TypeAdapter(list[JobInfo])
_CASES = TypeAdapter(list[CaseInfo])


class ApiError(Exception):
    """An error response of the API: its HTTP status, and a message for the user (`sentence`)."""

    def __init__(self, status: int, sentence: str) -> None:
        """Store the status and the message."""
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class ApiDownError(Exception):
    """No response from the API. `slow`: the request timed out; otherwise the API is not reachable."""

    def __init__(self, url: str, slow: bool) -> None:
        """`url`: of the API. `slow`: whether the request timed out."""
        super().__init__(f"{url}: {'no answer in time' if slow else 'not reachable'}")
        self.url = url
        self.slow = slow


class ApiClient:
    """Calls the API. Methods other than `alive` raise ApiError for an error response, ApiDownError without response."""

    def __init__(
        self, url: str, headers: Mapping[str, str] | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        """`url`: of the API, without /v1. `headers`: of every request. `transport`: replaces the network in tests."""
        self.url = url
        # requests to our own API must not go through a proxy that the environment sets
        self._http = httpx.Client(
            base_url=f"{url}/v1",
            headers=headers,
            timeout=_TIMEOUT_S,
            limits=httpx.Limits(keepalive_expiry=2.0),  # uvicorn closes a connection that was idle for 5 s
            transport=transport,
            trust_env=False,
        )

    def alive(self) -> bool:
        """Whether the API answers its health check within 2 s. Raises nothing."""
        try:
            return self._http.get("/health", timeout=_ALIVE_TIMEOUT_S).is_success
        except httpx.TransportError:
            return False

    def viewer(self) -> Viewer:
        """Who is signed in."""
        return self._get("/session", Viewer)

    def assets(self, query: AssetQuery) -> AssetPage:
        """One page of the files that pass the query's filters."""
        return self._get("/assets", AssetPage, _params(query))

    def facets(self, query: AssetQuery) -> Facets:
        """Number of files by kind, detector, label, decision and tag, among those that pass the filters."""
        return self._get("/facets", Facets, _params(query))

    def overview(self, query: OverviewQuery) -> Overview:
        """The files that pass the query's filters, summarized."""
        return self._get("/overview", Overview, _params(query))

    def jobs_overview(self, case: str | None = None) -> JobsOverview:
        """What the newest jobs did, summarized; with `case` those over its folders."""
        return self._get("/overview/jobs", JobsOverview, _of_case(case))

    def cases(self) -> list[CaseInfo]:
        """The cases that the viewer may see, by name."""
        return self._get("/cases", _CASES)

    def add_case(self, case: NewCase) -> CaseInfo:
        """Make a case."""
        return self._answer(CaseInfo, lambda: self._http.post("/cases", json=case.model_dump()))

    def asset(self, id: str) -> File:
        """One file with its detections and errors."""
        return self._get(f"/assets/{id}", File)

    def search(self, words: str, limit: int = 40, case: str | None = None) -> Hits:
        """Files whose image, text or speech matches the words, best first; with `case` only those in its folders."""
        return self._get("/search", Hits, _params(SearchQuery(q=words, limit=limit, case=case)))

    def alike(self, id: str, limit: int = 40, by: By = "image", case: str | None = None) -> list[Hit]:
        """Files that look like this one or, by faces, show a person in it; best first. `case` as in `search`."""
        return self._get("/search", Hits, _params(SearchQuery(like=id, by=by, limit=limit, case=case))).hits

    def alike_upload(
        self, name: str, content: IO[bytes], by: By, limit: int = 40, case: str | None = None
    ) -> list[Hit]:
        """Files that look like an uploaded image or, by faces, show a person in it; best first. `case` as in `search`.

        The upload is not stored.
        """
        query = LikenessQuery(by=by, limit=limit, case=case)
        return self._upload("/search", Hits, name, content, _params(query)).hits

    def detectors(self) -> list[DetectorInfo]:
        """The detectors that are served."""
        return self._get("/detectors", _DETECTORS)

    def jobs(self, limit: int, case: str | None = None) -> list[JobInfo]:
        """The latest scans, newest first; with `case` those over its folders."""
        return self._get("/jobs", _JOBS, {"limit": limit} | _of_case(case))

    def job(self, job: str) -> JobDetails:
        """One scan, with its report once it has ended."""
        return self._get(f"/jobs/{quote(job, safe='')}", JobDetails)

    def submit(self, uris: list[str], detectors: list[str] | None, priority: Priority, case: str | None = None) -> str:
        """Queue a scan of URIs into the default results folder; returns the job's name. `detectors`: None for all.

        The URIs are added to the folders of `case`.
        """
        request = ScanRequest(uris=uris, detectors=detectors, priority=priority, case=case).model_dump()
        name = self._answer(JobName, lambda: self._http.post("/jobs", json=request)).job
        assert name is not None  # only a retry returns no job
        return name

    def change(self, job: str, change: Change) -> str | None:
        """Cancel or resume a scan, or queue its failed files as a new scan.

        Returns the name of the changed or new job; None if there is nothing to retry.
        """
        return self._answer(JobName, lambda: self._http.post(f"/jobs/{quote(job, safe='')}/{change}")).job

    def analyze(self, name: str, content: IO[bytes]) -> Upload:
        """Run every detector on an uploaded file, which is not stored; returns the detections."""
        return self._upload("/analyze", Upload, name, content, {})

    def decisions(self, size: int) -> DecisionPage:
        """The latest decisions."""
        return self._get("/decisions", DecisionPage, {"size": size})

    def decision(self, id: str) -> AssetDecisions:
        """The decisions on a file, and the labels it may be given."""
        return self._get(f"/assets/{id}/decision", AssetDecisions)

    def decide(self, id: str, new: NewDecision) -> Decision:
        """Decide on a file. ApiError 409 if `new.version` is not that of the present decision."""
        body = new.model_dump(mode="json")
        return self._answer(Decision, lambda: self._http.put(f"/assets/{id}/decision", json=body))

    def decide_several(self, new: NewDecisions) -> AllWritten:
        """Decide on several files, each for itself; returns the outcomes."""
        return self._post("/decisions", AllWritten, new.model_dump(mode="json"))

    def undo_decision(self, id: str, version: int) -> Decision:
        """Take back the decision of this version. ApiError 409 if it is not the present one, 404 if there is none."""
        return self._post(f"/assets/{id}/decision/undo", Decision, {"version": version})

    def next_review(self, wanted: NextReview) -> ReviewItem:
        """The next file of a queue, kept for the caller."""
        return self._post("/review/next", ReviewItem, wanted.model_dump(mode="json"))

    def review_progress(self, queue: ReviewQueue) -> Progress:
        """How far the review of a queue is."""
        return self._post("/review/progress", Progress, queue.model_dump(mode="json"))

    def people(self, query: PeopleQuery) -> PeoplePage:
        """Groups of faces, each probably of one person."""
        return self._get("/people/groups", PeoplePage, query.model_dump(exclude_defaults=True))

    def group(self, face: str, query: GroupQuery) -> GroupPage:
        """The group of a face, with its faces. ApiError 404 if it is in none."""
        return self._get(f"/people/groups/{quote(face)}", GroupPage, query.model_dump(exclude_defaults=True))

    def correct_group(self, face: str, how: GroupChange, body: BaseModel, case: str | None = None) -> Corrected:
        """Correct the group of a face, in a case. ApiError 409 if somebody else was faster."""
        path, params = f"/people/groups/{quote(face)}/{how}", _of_case(case)
        send = lambda: self._http.post(path, json=body.model_dump(mode="json"), params=params)  # noqa: E731
        return self._answer(Corrected, send)

    def undo_correction(self, correction: int) -> TakenBack:
        """Take back a correction of groups. ApiError 409 if it does not hold any more."""
        return self._post(f"/people/corrections/{correction}/undo", TakenBack, {})

    def _post(self, path: str, kind: type[Answer], body: Mapping[str, Any]) -> Answer:
        return self._answer(kind, lambda: self._http.post(path, json=body))

    def _get(
        self, path: str, kind: type[Answer] | TypeAdapter[Answer], params: Mapping[str, Any] | None = None
    ) -> Answer:
        return self._answer(kind, lambda: self._http.get(path, params=params))

    def _upload(self, path: str, kind: type[Answer], name: str, content: IO[bytes], params: dict[str, Any]) -> Answer:
        files = {"file": (name, content)}
        send = lambda: self._http.post(path, files=files, params=params, timeout=_ANALYZE_TIMEOUT_S)  # noqa: E731
        return self._answer(kind, send)

    def _answer(self, kind: type[Answer] | TypeAdapter[Answer], send: Callable[[], httpx.Response]) -> Answer:
        try:
            response = send()
        except httpx.TimeoutException:
            raise ApiDownError(self.url, slow=True) from None
        except httpx.TransportError:
            raise ApiDownError(self.url, slow=False) from None
        if not response.is_success:
            raise ApiError(response.status_code, _sentence(response))
        adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
        try:
            return adapter.validate_json(response.content)
        except ValidationError:
            sentence = f"The server at {self.url} is not this version of Raysift's API. Restart the API and the app."
            raise ApiError(response.status_code, sentence) from None


def _of_case(case: str | None) -> dict[str, str]:
    return {} if case is None else {"case": case}


def _params(query: AssetFilter | LikenessQuery) -> dict[str, Any]:
    """The query's parameters that differ from the defaults; httpx repeats a parameter with several values."""
    return query.model_dump(mode="json", exclude_defaults=True)


def _sentence(response: httpx.Response) -> str:
    """The API's error message. The text of a proxy in front of it is not shown: it may name internal hosts."""
    try:
        return Problem.model_validate_json(response.content).detail
    except ValidationError:
        return f"Raysift answered with an error ({response.status_code}). The API's log has the reason."
