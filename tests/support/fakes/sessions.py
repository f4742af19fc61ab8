"""Sessions of the fake API: everybody who shows a token is Ann; PASSWORD and LINK begin a session."""

from fastapi import HTTPException, Request, Response

from cluster.access import tokens
from cluster.access.api_types import Session, SignIn, Viewer
from cluster.access.identity import Role

TOKEN = f"rs_{'0' * 12}_{'t' * 43}"  # a valid session
ENDED = f"rs_{'e' * 12}_{'t' * 43}"  # one that has ended
LINK = f"rs_{'1' * 12}_{'l' * 43}"  # of a one-time link
PASSWORD = "correct horse battery"


class FakeSessions:
    """The sessions that were begun, by token, and the address that the app says it asks for."""

    def __init__(self, role: Role) -> None:
        """`role`: of every session."""
        self.role = role
        self.ended = {ENDED}
        self.links = {LINK}
        self.asked_for: list[str] = []

    def show(self, request: Request) -> Viewer:
        """Ann, for every token in the Authorization header that has not ended."""
        self.asked_for.append(request.headers.get("x-forwarded-for", ""))
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if tokens.parse(token) is None or token in self.ended:
            raise HTTPException(401, "this session has expired. Send a key as `Authorization: Bearer rs_...`.")
        return Viewer(name="Ann <b>", role=self.role, prefixes=None)

    def begin(self, given: SignIn) -> Session:
        """A session for the name ann with PASSWORD, for a link once, and for any other token."""
        if given.token is None and (given.name, given.password) != ("ann", PASSWORD):
            raise HTTPException(401, "name or password is wrong")
        if given.token == LINK and LINK not in self.links:
            raise HTTPException(401, "this link was used before or has expired")
        self.links.discard(str(given.token))
        return Session(token=str(tokens.new()), name="Ann", role=self.role, prefixes=None)

    def end(self, request: Request) -> Response:
        """End the session."""
        self.ended.add(request.headers["authorization"].removeprefix("Bearer "))
        return Response(status_code=204)
