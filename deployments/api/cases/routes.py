"""The API's routes for cases, and the limits that a case in a query sets."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
from collections.abc import Sequence
from typing import Annotated

from fastapi import HTTPException, Path, Request, Response

from cluster.access.identity import Identity, lies_under
from cluster.cases.api_types import CaseChange, CaseInfo, CaseName, NewCase
from cluster.cases.case import Case, common
from cluster.records import iso_time
from cluster.storage import buckets
from deployments.access.client_address import address
from deployments.access.roles import Operator, Viewer
from deployments.api.app import api
from deployments.api.calls import TimedHandle
from deployments.api.guards.idempotency import IdempotencyKey, caller_of, claimed

Name = Annotated[CaseName, Path()]


class CaseRoutes:
    """The routes for cases; the API that inherits them has the catalogue and the deployment of the keys."""

    access: TimedHandle
    catalog: TimedHandle
    jobs: TimedHandle

    @api.get("/v1/cases")
    async def list_cases(self, who: Viewer) -> list[CaseInfo]:
        """The cases, by name. A limited caller sees those that have a folder in the own ones."""
        seen = [case for case in await self.access.cases.remote() if _is_seen(case, who)]
        places = [common(case.folders, who.prefixes) for case in seen]
        counts = await self.catalog.counts.remote(places)
        return [_info(*each) for each in zip(seen, places, counts, strict=True)]

    @api.post("/v1/cases")
    async def add_case(
        self, new: NewCase, request: Request, who: Operator, idempotency_key: IdempotencyKey = None
    ) -> CaseInfo:
        """Make a case. Its folders need not exist yet."""
        caller = await caller_of(request, who, idempotency_key, None)
        async with claimed(self.jobs, caller) as claim:
            if claim.state == "new":
                await self._make_case(new, request, who)
                if caller.key:
                    await self.jobs.remember.remote(caller, new.name)
            return await self._shown_case(await self.case_of(new.name, who), who)

    async def _make_case(self, new: NewCase, request: Request, who: Identity) -> None:
        folders = _own_folders(new.folders, who)
        if not folders and who.prefixes is not None:
            raise HTTPException(422, "body.folders: you are limited to some folders: name those of the case")
        case = await self.access.add_case.remote(who, new.name, new.title, folders, address(request))
        if case is None:
            raise HTTPException(409, f"there is a case {new.name!r} already: choose another name")

    @api.patch("/v1/cases/{name}")
    async def change_case(self, name: Name, change: CaseChange, request: Request, who: Operator) -> CaseInfo:
        """Change the title of a case, add or remove folders, close it or open it again.

        A limited caller may add and remove only own folders, and do the rest only if the whole case is in them.
        """
        known = await self.case_of(name, who)
        changes = change.model_dump(exclude_unset=True)
        if {"title", "closed"} & set(changes):
            _check_whole(known, who)
        for field in {"add", "remove"} & set(changes):
            changes[field] = _own_folders(changes[field], who)
        case = await self.access.change_case.remote(who, name, changes, address(request))
        if case is None:
            raise _unknown(name)
        return await self._shown_case(case, who)

    @api.delete("/v1/cases/{name}", status_code=204)
    async def remove_case(self, name: Name, request: Request, who: Operator) -> Response:
        """Delete a case. Its files, results and jobs stay."""
        _check_whole(await self.case_of(name, who), who)
        if not await self.access.remove_case.remote(who, name, address(request)):
            raise _unknown(name)
        return Response(status_code=204)

    async def case_of(self, name: str, who: Identity) -> Case:
        """The case of that name. HTTPException 404 if there is none, or the caller may see nothing of it."""
        case: Case | None = await self.access.case.remote(name)
        if case is None or not _is_seen(case, who):
            raise _unknown(name)
        return case

    async def within(self, case: str | None, who: Identity) -> tuple[str, ...] | None:
        """The folders of the files that a query may return: the caller's, and of these only those of the case, if any.

        HTTPException 404 as of `case_of`.
        """
        return who.prefixes if case is None else common((await self.case_of(case, who)).folders, who.prefixes)

    async def scan_into(self, name: str, uris: Sequence[str], request: Request, who: Identity) -> None:
        """Add what a new job scans to a case. HTTPException 404 as of `case_of`, 422 if it is closed."""
        case = await self.case_of(name, who)
        if case.closed_at is not None:
            raise HTTPException(422, f"the case {name!r} is closed: open it again, or scan into another one")
        changes = {"add": _own_folders(uris, who)}
        if not all(lies_under(uri, case.folders) for uri in changes["add"]):
            await self.access.change_case.remote(who, name, changes, address(request))

    async def _shown_case(self, case: Case, who: Identity) -> CaseInfo:
        folders = common(case.folders, who.prefixes)
        (files,) = await self.catalog.counts.remote([folders])
        return _info(case, folders, files)


def _is_seen(case: Case, who: Identity) -> bool:
    return who.prefixes is None or bool(common(case.folders, who.prefixes))


def _own_folders(uris: Sequence[str], who: Identity) -> tuple[str, ...]:
    """The folders as normalized URIs. HTTPException 403 if one is not the caller's."""
    folders = tuple(buckets.normalize(uri).rstrip("/") for uri in uris)
    if not who.sees_all(folders):
        raise HTTPException(403, f"you may name only folders under {', '.join(who.prefixes or ())}")
    return folders


def _check_whole(case: Case, who: Identity) -> None:
    if not who.sees_all(case.folders):
        raise HTTPException(403, "a part of this case lies outside your folders: ask somebody who may see all of it")


def _unknown(name: str) -> HTTPException:
    return HTTPException(404, f"there is no case {name!r}; GET /v1/cases lists them")


def _info(case: Case, folders: tuple[str, ...], files: int) -> CaseInfo:
    return CaseInfo(
        name=case.name,
        title=case.title,
        folders=folders,
        files=files,
        made_by=case.made_by,
        made_at=iso_time(case.made_at),
        closed_at=None if case.closed_at is None else iso_time(case.closed_at),
    )
