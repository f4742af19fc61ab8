"""The app's side of the HTTP API: what is asked, and what went wrong in words for the viewer."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO, Any, Literal
from urllib.parse import quote

import httpx

from cluster.api_types import DetectorInfo, Facets, File, Hit, Job, Page

Sort = Literal["newest", "oldest", "score", "name"]
By = Literal["image", "faces"]
Priority = Literal["urgent", "normal", "bulk"]
Change = Literal["cancel", "resume", "retry-failed"]

PAGE_SIZE = 60
_ANALYZE_TIMEOUT_S = 900.0  # a long recording on a CPU takes minutes
_TIMEOUT_S = 30.0
_ALIVE_TIMEOUT_S = 2.0


class ApiError(Exception):
    """The API said no, in a sentence meant for the viewer. Status is that of the HTTP answer."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class ApiDownError(Exception):
    """Nobody answers at the API's address, or not in time."""

    def __init__(self, url: str, slow: bool) -> None:
        super().__init__(f"{url}: {'no answer in time' if slow else 'not reachable'}")
        self.url = url
        self.slow = slow


@dataclass(frozen=True)
class Filters:
    """Which files to list; empty means all."""

    kinds: tuple[str, ...] = ()
    detectors: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    min_score: float = 0.0
    under: str = ""
    failed: bool = False

    def params(self) -> list[tuple[str, str]]:
        """As the API's query parameters."""
        pairs = [("kind", kind) for kind in self.kinds]
        pairs += [("detector", name) for name in self.detectors]
        pairs += [("label", label) for label in self.labels]
        if self.min_score > 0:
            pairs.append(("min_score", f"{self.min_score:g}"))
        if self.under:
            pairs.append(("under", self.under))
        if self.failed:
            pairs.append(("failed", "true"))
        return pairs


class ApiClient:
    """Asks the API. Every method raises ApiError for an answer that is an error and ApiDownError without one."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url
        # a proxy set for the outside world must not see what is asked of our own API
        self._http = httpx.Client(base_url=f"{url}/v1", timeout=_TIMEOUT_S, transport=transport, trust_env=False)

    def alive(self) -> bool:
        """Whether anybody answers at all."""
        try:
            return self._http.get("/health", timeout=_ALIVE_TIMEOUT_S).is_success
        except httpx.TransportError:
            return False

    def assets(self, filters: Filters, sort: Sort, page: int, size: int = PAGE_SIZE) -> Page:
        """One page of the files that pass the filters."""
        params = [*filters.params(), ("sort", sort), ("page", str(page)), ("size", str(size))]
        return self._get("/assets", params)

    def facets(self, filters: Filters) -> Facets:
        """How many files there are of each kind and label among those that pass the filters."""
        return self._get("/facets", filters.params())

    def asset(self, id: str) -> File:
        """All that is known of one file."""
        return self._get(f"/assets/{id}")

    def search(self, words: str, limit: int = 40) -> list[Hit]:
        """Files whose picture, text or speech is about the words, best first."""
        return self._get("/search", [("q", words), ("limit", str(limit))])["hits"]

    def alike(self, id: str, limit: int = 40, by: By = "image") -> list[Hit]:
        """Files that look like this one, or that show a person of its, best first."""
        return self._get("/search", [("like", id), ("by", by), ("limit", str(limit))])["hits"]

    def alike_upload(self, name: str, content: IO[bytes], by: By, limit: int = 40) -> list[Hit]:
        """Files that look like an uploaded picture, which is not kept, or that show a person of its, best first."""
        asked = {"by": by, "limit": str(limit)}
        return self._upload("/search", name, content, asked)["hits"]

    def detectors(self) -> list[DetectorInfo]:
        """The detectors that are served."""
        return self._get("/detectors")

    def jobs(self, limit: int) -> list[Job]:
        """The scans that were submitted last, newest first."""
        return self._get("/jobs", [("limit", str(limit))])

    def job(self, job: str) -> Job:
        """One scan, with its report once it is over."""
        return self._get(f"/jobs/{quote(job, safe='')}")

    def submit(self, uris: list[str], detectors: list[str] | None, priority: Priority) -> str:
        """Queue a scan into the default results folder; the answer is its name."""
        asked = {"uris": uris, "out": None, "detectors": detectors, "priority": priority}
        return self._answer(lambda: self._http.post("/jobs", json=asked))["job"]

    def change(self, job: str, change: Change) -> str | None:
        """Cancel or resume a scan, or do again what failed in it as a new one; the job's name, None: nothing failed."""
        return self._answer(lambda: self._http.post(f"/jobs/{quote(job, safe='')}/{change}"))["job"]

    def analyze(self, name: str, content: IO[bytes]) -> File:
        """What every detector finds in an uploaded file, which is not kept."""
        return self._upload("/analyze", name, content, {})

    def _get(self, path: str, params: Iterable[tuple[str, str]] = ()) -> Any:
        return self._answer(lambda: self._http.get(path, params=list(params)))

    def _upload(self, path: str, name: str, content: IO[bytes], params: dict[str, str]) -> Any:
        files = {"file": (name, content)}
        return self._answer(lambda: self._http.post(path, files=files, params=params, timeout=_ANALYZE_TIMEOUT_S))

    def _answer(self, ask: Callable[[], httpx.Response]) -> Any:
        try:
            answer = ask()
        except httpx.TimeoutException:
            raise ApiDownError(self.url, slow=True) from None
        except httpx.TransportError:
            raise ApiDownError(self.url, slow=False) from None
        if answer.is_success:
            return answer.json()
        raise ApiError(answer.status_code, _sentence(answer))


def _sentence(answer: httpx.Response) -> str:
    """The API's own words; those of a server in front of it are not meant for the viewer."""
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return f"Raysift answered with an error ({answer.status_code}). The log of its API says why."
    return detail if isinstance(detail, str) else f"Raysift did not understand the request ({answer.status_code})."
