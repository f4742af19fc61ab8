"""The app's client of the HTTP API: typed responses, and errors with messages for the user."""

from collections.abc import Callable, Mapping
from typing import IO, Any, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from app.language.texts import _
from cluster.access.api_types import Viewer
from cluster.api_job_types import JobDetails, JobInfo, JobName, ScanPlan
from cluster.api_queries import AssetQuery, LikenessQuery, ScanRequest, SearchQuery
from cluster.api_types import AssetPage, DetectorInfo, Facets, File, Hits, Neighbours, Problem, Upload
from cluster.cases.api_types import CaseInfo, NewCase
from cluster.cases.overview import JobsOverview, LeftOut, LeftOutQuery, Overview, OverviewQuery
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
from cluster.exposure.exposure import Exposure, OwnExposure
from cluster.people.api_types import GroupPage, GroupQuery, PeoplePage, PeopleQuery

Change = Literal["cancel", "resume", "retry-failed"]
Answer = TypeVar("Answer")

_ANALYZE_TIMEOUT_S = 900.0  # a long recording on a CPU takes minutes
_TIMEOUT_S = 30.0
_ALIVE_TIMEOUT_S = 2.0
PLAN_TIMEOUT_S = 120.0  # folders are listed, or faces cut out of their files
_LOGS_TIMEOUT_S = 60.0  # Ray is asked for each attempt's
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

    def exposure(self) -> OwnExposure:
        """What who is signed in sees and hears of media before it is revealed."""
        return self._get("/me/exposure", OwnExposure)

    def set_exposure(self, chosen: Exposure) -> OwnExposure:
        """Store it. ApiError 422 if it shows more than the organisation permits."""
        return self.ask("PUT", "/me/exposure", OwnExposure, chosen.model_dump())

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
        return self._get("/overview/jobs", JobsOverview, of_case(case))

    def left_out(self, query: LeftOutQuery) -> LeftOut:
        """What scans left out, and why."""
        return self._get("/left-out", LeftOut, _params(query))

    def cases(self) -> list[CaseInfo]:
        """The cases that the viewer may see, by name."""
        return self._get("/cases", _CASES)

    def add_case(self, case: NewCase) -> CaseInfo:
        """Make a case."""
        return self._answer(CaseInfo, lambda: self._http.post("/cases", json=case.model_dump()))

    def asset(self, id: str) -> File:
        """One file with its detections and errors."""
        return self._get(f"/assets/{id}", File)

    def neighbours(self, id: str, query: AssetQuery) -> Neighbours:
        """The files beside one in the list of a query."""
        return self._get(f"/assets/{id}/neighbours", Neighbours, _params(query))

    def search(self, query: SearchQuery) -> Hits:
        """Files that contain the words, then similar ones; or that are like a file or a picture; of those that pass
        the filters.
        """
        return self._get("/search", Hits, _params(query))

    def search_by_picture(self, name: str, content: IO[bytes], query: LikenessQuery) -> Hits:
        """Files that look like an uploaded image or, by faces, show a person in it; best first.

        The upload is not stored; with `picture` of the answer it is searched by again.
        """
        return self.upload("/search", Hits, name, content, _params(query))

    def detectors(self) -> list[DetectorInfo]:
        """The detectors that are served."""
        return self._get("/detectors", _DETECTORS)

    def jobs(self, limit: int, case: str | None = None) -> list[JobInfo]:
        """The latest scans, newest first; with `case` those over its folders."""
        return self._get("/jobs", _JOBS, {"limit": limit} | of_case(case))

    def job(self, job: str) -> JobDetails:
        """One scan, with its report once it has ended."""
        return self._get(f"/jobs/{quote(job, safe='')}", JobDetails)

    def submit(self, request: ScanRequest) -> str:
        """Queue a scan; returns the job's name."""
        name = self._post("/jobs", JobName, request.model_dump()).job
        assert name is not None  # only a retry returns no job
        return name

    def plan(self, request: ScanRequest) -> ScanPlan:
        """What a scan would do. Its priority and case do not matter."""
        body = request.model_dump(include={"uris", "out", "detectors"})
        return self.ask("POST", "/jobs/plan", ScanPlan, body, timeout_s=PLAN_TIMEOUT_S)

    def logs(self, job: str) -> str:
        """The logs of a job's drivers."""
        return self._response(lambda: self._http.get(f"/jobs/{quote(job, safe='')}/logs", timeout=_LOGS_TIMEOUT_S)).text

    def change(self, job: str, change: Change) -> str | None:
        """Cancel or resume a scan, or queue its failed files as a new scan.

        Returns the name of the changed or new job; None if there is nothing to retry.
        """
        return self._answer(JobName, lambda: self._http.post(f"/jobs/{quote(job, safe='')}/{change}")).job

    def analyze(self, name: str, content: IO[bytes]) -> Upload:
        """Run every detector on an uploaded file, which is not stored; returns the detections."""
        return self.upload("/analyze", Upload, name, content, {})

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
        return self._get("/people/groups", PeoplePage, _params(query))

    def group(self, face: str, query: GroupQuery) -> GroupPage:
        """The group of a face, with its faces. ApiError 404 if it is in none."""
        return self._get(f"/people/groups/{quote(face)}", GroupPage, _params(query))

    def ask(
        self,
        method: str,
        path: str,
        kind: type[Answer] | TypeAdapter[Answer],
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> Answer:
        """The answer to a request. app/people and app/upkeep have calls of their own."""
        send = lambda: self._http.request(method, path, json=body, params=params, timeout=timeout_s)  # noqa: E731
        return self._answer(kind, send)

    def upload(self, path: str, kind: type[Answer], name: str, content: IO[bytes], params: dict[str, Any]) -> Answer:
        """The answer to a request with a file."""
        files = {"file": (name, content)}
        send = lambda: self._http.post(path, files=files, params=params, timeout=_ANALYZE_TIMEOUT_S)  # noqa: E731
        return self._answer(kind, send)

    def _post(self, path: str, kind: type[Answer], body: Mapping[str, Any]) -> Answer:
        return self.ask("POST", path, kind, body)

    def _get(
        self, path: str, kind: type[Answer] | TypeAdapter[Answer], params: Mapping[str, Any] | None = None
    ) -> Answer:
        return self.ask("GET", path, kind, params=params)

    def _answer(self, kind: type[Answer] | TypeAdapter[Answer], send: Callable[[], httpx.Response]) -> Answer:
        response = self._response(send)
        adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
        try:
            return adapter.validate_json(response.content)
        except ValidationError:
            sentence = _(
                "The server at {url} is not this version of Raysift's API. Restart the API and the app.", url=self.url
            )
            raise ApiError(response.status_code, sentence) from None

    def _response(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        try:
            response = send()
        except httpx.TimeoutException:
            raise ApiDownError(self.url, slow=True) from None
        except httpx.TransportError:
            raise ApiDownError(self.url, slow=False) from None
        if not response.is_success:
            raise ApiError(response.status_code, _sentence(response))
        return response


def of_case(case: str | None) -> dict[str, str]:
    """The parameter of a request that is limited to a case."""
    return {} if case is None else {"case": case}


def _params(query: BaseModel) -> dict[str, Any]:
    """The query's parameters that differ from the defaults; httpx repeats a parameter with several values."""
    return query.model_dump(mode="json", exclude_defaults=True)


def _sentence(response: httpx.Response) -> str:
    """The API's error message. The text of a proxy in front of it is not shown: it may name internal hosts."""
    try:
        return Problem.model_validate_json(response.content).detail
    except ValidationError:
        return _(
            "Raysift answered with an error ({status}). The API's log has the reason.", status=response.status_code
        )
