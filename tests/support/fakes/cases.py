"""The cases of the fake API: everybody may see and change all of them."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import HTTPException, Response

from cluster.cases.api_types import CaseChange, CaseInfo, NewCase
from cluster.cases.case import Case
from cluster.cases.store import CaseStore
from cluster.records import iso_time


class FakeCases:
    """The routes of cases over a real store."""

    def __init__(self, count: Callable[[tuple[str, ...]], int]) -> None:
        """`count`: the number of files in these folders."""
        self._count = count
        self._folder = TemporaryDirectory()
        self.store = CaseStore(Path(self._folder.name) / "cases.sqlite")

    def within(self, case: str | None) -> tuple[str, ...] | None:
        """The folders of a case; None without a case. 404 if there is no case of that name."""
        return None if case is None else self._known(self.store.get(case), case).folders

    def scan_into(self, name: str, uris: list[str]) -> None:
        """Add folders to a case."""
        self._known(self.store.change(name, add=uris), name)

    def list_cases(self) -> list[CaseInfo]:
        """All cases, by name."""
        return [self._info(case) for case in self.store.all()]

    def add(self, new: NewCase) -> CaseInfo:
        """Make a case; 409 if there is one of that name."""
        case = self.store.add(new.name, new.title, new.folders, "Ann")
        if case is None:
            raise HTTPException(409, f"there is a case {new.name!r} already: choose another name")
        return self._info(case)

    def change(self, name: str, change: CaseChange) -> CaseInfo:
        """Change a case."""
        return self._info(self._known(self.store.change(name, **change.model_dump(exclude_unset=True)), name))

    def remove(self, name: str) -> Response:
        """Delete a case."""
        if not self.store.remove(name):
            self._known(None, name)
        return Response(status_code=204)

    def _known(self, case: Case | None, name: str) -> Case:
        if case is None:
            raise HTTPException(404, f"there is no case {name!r}; GET /v1/cases lists them")
        return case

    def _info(self, case: Case) -> CaseInfo:
        return CaseInfo(
            name=case.name,
            title=case.title,
            folders=case.folders,
            files=self._count(case.folders),
            made_by=case.made_by,
            made_at=iso_time(case.made_at),
            closed_at=None if case.closed_at is None else iso_time(case.closed_at),
        )
