"""Sessions of the fake API: Bob shows BOBS_TOKEN, everybody else is Ann; PASSWORD and LINK begin a session of hers."""

from fastapi import HTTPException, Request, Response

from cluster.access import tokens
from cluster.access.api_types import Session, SignIn, Viewer
from cluster.access.identity import Identity, Role
from cluster.exposure.exposure import Exposure, ExposureRules, OwnExposure

ANN, BOB = Identity("Ann <b>", "admin", id="a" * 12), Identity("Bob", "reviewer", id="b" * 12)
TOKEN = f"rs_{'0' * 12}_{'t' * 43}"  # a valid session
BOBS_TOKEN = f"rs_{'b' * 12}_{'t' * 43}"  # one of Bob's
ENDED = f"rs_{'e' * 12}_{'t' * 43}"  # one that has ended
LINK = f"rs_{'1' * 12}_{'l' * 43}"  # of a one-time link
PASSWORD = "correct horse battery"


class FakeSessions:
    """The sessions that were begun, by token, and the address that the app says it asks for."""

    def __init__(self, role: Role, exposure: ExposureRules) -> None:
        """`role`: of every session of Ann's."""
        self.role = role
        self.rules = exposure
        self.chosen: dict[str, Exposure] = {}  # by name of who chose it
        self.name = ANN.name  # under which Ann's sessions are shown
        self.ended = {ENDED}
        self.links = {LINK}
        self.asked_for: list[str] = []

    def show(self, request: Request) -> Viewer:
        """Who shows the token in the Authorization header, if it has not ended."""
        self.asked_for.append(request.headers.get("x-forwarded-for", ""))
        token = _token(request)
        if tokens.parse(token) is None or token in self.ended:
            raise HTTPException(401, "this session has expired. Send a key as `Authorization: Bearer rs_...`.")
        who = identity(request)
        name, role = (self.name, self.role) if who is ANN else (who.name, who.role)
        return Viewer(name=name, role=role, prefixes=None)

    def begin(self, given: SignIn) -> Session:
        """A session for the names ann and bob with PASSWORD, for a link once, and for any other token."""
        if given.token is None and (given.name not in ("ann", "bob") or given.password != PASSWORD):
            raise HTTPException(401, "name or password is wrong")
        if given.name == "bob":
            return Session(token=BOBS_TOKEN, name=BOB.name, role=BOB.role, prefixes=None)
        if given.token == LINK and LINK not in self.links:
            raise HTTPException(401, "this link was used before or has expired")
        self.links.discard(str(given.token))
        return Session(token=str(tokens.new()), name="Ann", role=self.role, prefixes=None)

    def end(self, request: Request) -> Response:
        """End the session."""
        self.ended.add(_token(request))
        return Response(status_code=204)

    def exposure(self, request: Request) -> OwnExposure:
        """What holds for who asks."""
        return self.rules.own(self.chosen.get(identity(request).name))

    def set_exposure(self, chosen: Exposure, request: Request) -> OwnExposure:
        """Store what who asks has chosen."""
        if self.rules.floor and (weaker := chosen.weaker(self.rules)):
            raise HTTPException(422, f"the organisation does not permit this: {', '.join(weaker)}")
        self.chosen[identity(request).name] = chosen
        return self.exposure(request)


def identity(request: Request) -> Identity:
    """Who asks: Bob with his token, else Ann."""
    return BOB if _token(request) == BOBS_TOKEN else ANN


def _token(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")
