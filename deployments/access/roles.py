"""The role that each route needs, as FastAPI dependencies: `who: Viewer` in the arguments of a route."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request

from cluster.access.identity import Identity, Role
from deployments.access.authentication import HOW

UNDECLARED = ("/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect")  # FastAPI's: the middleware asks for a key


class Needs:
    """The dependency: the Identity of a request, or HTTPException 403 if its role is not enough. None: any, or nobody.

    `everywhere`: what the route does concerns the files of all cases, so a caller that is limited to some may not.
    """

    def __init__(self, role: Role | None, everywhere: bool = False) -> None:
        self.role = role
        self.everywhere = everywhere

    async def __call__(self, request: Request) -> Identity | None:  # not in a thread, which costs more than the check
        """Whose request it is."""
        identity: Identity | None = getattr(request.state, "identity", None)
        if self.role is None:
            return identity
        if identity is None:
            raise HTTPException(401, f"this needs a key. {HOW}.", {"WWW-Authenticate": "Bearer"})
        if not identity.may(self.role):
            sentence = f"this needs the role {self.role}, and you have the role {identity.role}"
            raise HTTPException(403, f"{sentence}. Ask an admin for another key or role.")
        if self.everywhere and identity.prefixes is not None:
            raise HTTPException(403, "this concerns the files of all cases, and you are limited to some. Ask an admin.")
        return identity


Viewer = Annotated[Identity, Depends(Needs("viewer"))]
Reviewer = Annotated[Identity, Depends(Needs("reviewer"))]
Operator = Annotated[Identity, Depends(Needs("operator"))]
OperatorOfAll = Annotated[Identity, Depends(Needs("operator", everywhere=True))]
Admin = Annotated[Identity, Depends(Needs("admin", everywhere=True))]
Anybody = Annotated[Identity | None, Depends(Needs(None))]


def routes_of(routes: Iterable[Any]) -> Iterator[Any]:
    """The routes of an API, without those that FastAPI adds."""
    for route in routes:
        if included := getattr(route, "original_router", None):  # Serve puts the routes of a class into one
            yield from routes_of(included.routes)
        elif route.path not in UNDECLARED:
            yield route


def roles(routes: Iterable[Any]) -> Iterator[tuple[str, str, Role | None]]:
    """Method, path and role of each route. LookupError for a route that declares none."""
    for route in routes_of(routes):
        declared = [
            dependency.call for dependency in route.dependant.dependencies if isinstance(dependency.call, Needs)
        ]
        if len(declared) != 1:
            raise LookupError(
                f"{route.path} declares {len(declared)} roles: give it one of deployments/access/roles.py"
            )
        for method in sorted(route.methods):
            yield method, route.path, declared[0].role
