"""The API's routes for sessions, keys and signed URLs, and for what a command does that belongs into the audit log."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
import time
from typing import Annotated

from fastapi import Body, HTTPException, Path, Request, Response

from cluster.access.api_types import (
    KeyInfo,
    Links,
    MadeKey,
    NewKey,
    OidcBegin,
    OidcProvider,
    OidcStart,
    Revoked,
    Session,
    SignIn,
    Text,
)
from cluster.access.api_types import Viewer as ViewerInfo
from cluster.access.holds import Hold
from cluster.access.identity import Identity
from cluster.exposure.exposure import Exposure, OwnExposure
from cluster.settings import Settings
from cluster.storage import buckets
from deployments.access.client_address import address
from deployments.access.purposes import purpose
from deployments.access.roles import Admin, Anybody, OperatorOfAll, Viewer
from deployments.access.service import Verdict
from deployments.api.app import api
from deployments.api.calls import TimedHandle

DAY_S = 86_400
Id = Annotated[str, Path(pattern="^[0-9a-f]{12}$")]


class AccessRoutes:
    """The routes on who may do what; the API that inherits them has the deployment of the keys."""

    settings: Settings
    access: TimedHandle
    catalog: TimedHandle

    @api.post("/v1/session")
    async def sign_in(self, given: SignIn, request: Request, _: Anybody) -> Session:
        """Begin a session, with a name and password, a key, a one-time link, or what the OpenID provider sent.

        401 if they are not valid.
        """
        where = address(request)
        if given.oidc is not None:
            verdict = await self.access.sign_in_oidc.remote(given.oidc, where)
        elif given.token is not None:
            verdict = await self.access.sign_in_with.remote(given.token, where)
        else:
            verdict = await self.access.sign_in.remote(given.name, given.password, where)
        if verdict.identity is None:
            headers = {"WWW-Authenticate": "Bearer"} if verdict.status == 401 else None
            raise HTTPException(verdict.status, verdict.reason, headers)
        return Session(token=verdict.token, **_shown(verdict.identity))

    @api.get("/v1/session")
    async def session(self, who: Viewer) -> ViewerInfo:
        """Who asks: the name, role and folders of this key or session."""
        return ViewerInfo(**_shown(who))

    @api.delete("/v1/session", status_code=204)
    async def sign_out(self, request: Request, who: Viewer) -> Response:
        """End this session."""
        await self.access.sign_out.remote(who, address(request))
        return Response(status_code=204)

    @api.get("/v1/me/exposure")
    async def exposure(self, who: Viewer) -> OwnExposure:
        """What the caller sees and hears of media before it reveals a file, in whichever session."""
        return self.settings.exposure.own(await self.access.exposure.remote(who))

    @api.put("/v1/me/exposure")
    async def set_exposure(self, chosen: Exposure, who: Viewer) -> OwnExposure:
        """Store it for the caller. 422 if it shows more than the organisation permits."""
        rules = self.settings.exposure
        if rules.floor and (weaker := chosen.weaker(rules)):
            raise HTTPException(
                422, f"these show more than the organisation permits: {', '.join(weaker)}. They may only be stricter."
            )
        await self.access.set_exposure.remote(who, chosen)
        return rules.own(chosen)

    @api.get("/v1/oidc")
    async def oidc_provider(self, _: Anybody) -> OidcProvider:
        """The OpenID Connect provider with which people may sign in. 404 if none is set."""
        provider: OidcProvider | None = await self.access.oidc_provider.remote()
        if provider is None:
            raise HTTPException(404, "no OpenID Connect provider is set")
        return provider

    @api.post("/v1/oidc")
    async def begin_oidc(self, given: OidcBegin, _: Anybody) -> OidcStart:
        """Where a browser has to go to sign in at the provider, for the app."""
        begun: OidcStart | Verdict = await self.access.begin_oidc.remote(given.redirect_uri)
        if isinstance(begun, Verdict):
            raise HTTPException(begun.status, begun.reason)
        return begun

    @api.get("/v1/keys")
    async def list_keys(self, _: Admin) -> list[KeyInfo]:
        """All keys with their last use, without their secrets."""
        fields = ("name", "role", "prefixes", "id", "made_at", "expires_at", "revoked_at", "used_at")
        return [KeyInfo(**{name: getattr(key, name) for name in fields}) for key in await self.access.keys.remote()]

    @api.post("/v1/keys")
    async def make_key(self, wanted: NewKey, request: Request, who: Admin) -> MadeKey:
        """Make a key. The answer is the only place that shows it, so it cannot be repeated: 400 for Idempotency-Key."""
        if "idempotency-key" in request.headers:
            raise HTTPException(
                400,
                "a key is shown once and not stored, so this cannot be repeated: leave Idempotency-Key out. If an "
                "answer is lost, revoke its key and make another one.",
            )
        prefixes = wanted.prefixes and tuple(buckets.normalize(uri).rstrip("/") for uri in wanted.prefixes)
        expires_at = time.time() + wanted.days * DAY_S if wanted.days else None
        values = (wanted.name, wanted.role, prefixes, expires_at, address(request))
        id, key = await self.access.add_key.remote(who, *values)
        return MadeKey(id=id, key=key)

    @api.delete("/v1/keys/{id}")
    async def revoke_key(self, id: Id, request: Request, who: Admin) -> Revoked:
        """End a key and the sessions that were begun with it, within 5 s."""
        if not await self.access.revoke.remote(who, id, address(request)):
            raise HTTPException(404, f"there is no valid key {id!r}; GET /v1/keys lists them")
        return Revoked(id=id)

    @api.get("/v1/holds")
    async def list_holds(self, _: Admin) -> list[Hold]:
        """The legal holds: files that must not be erased. `raysift hold` changes them, on the head."""
        return list(await self.access.holds.remote())

    @api.post("/v1/assets/{asset}/links")
    async def links(self, asset: str, who: Viewer) -> Links:
        """Signed paths of a file: they show what the caller may see of it, for five minutes, without a key."""
        if await self.catalog.location.remote(asset, who.prefixes) is None:
            raise HTTPException(404, f"no file {asset!r} has been scanned")
        paths = {what: f"/v1/assets/{asset}/{what}" for what in ("media", "thumbnail")}
        return Links(
            **{what: f"{path}?{await self.access.signed_query.remote(who.id, path)}" for what, path in paths.items()}
        )

    @api.post("/v1/people/{name}", status_code=204)
    async def enrolled(self, name: str, request: Request, who: OperatorOfAll) -> Response:
        """Record in the audit log that a person was enrolled; `raysift people add` has stored the photos."""
        why = purpose(request, self.settings.access)
        await self.access.record.remote(who, "person enrolled", name, address(request), **why)
        return Response(status_code=204)

    @api.post("/v1/people/{name}/removed", status_code=204)
    async def removed(self, name: str, request: Request, who: OperatorOfAll) -> Response:
        """Record in the audit log that a person is looked for no more; `raysift people remove` deletes the photos."""
        why = purpose(request, self.settings.access)
        await self.access.record.remote(who, "person removed", name, address(request), **why)
        return Response(status_code=204)

    @api.post("/v1/people/{name}/rejected", status_code=204)
    async def rejected(
        self, name: str, asset: Annotated[Text, Body(embed=True)], request: Request, who: OperatorOfAll
    ) -> Response:
        """Record in the audit log that faces in a file are not this person; `raysift people reject` keeps them."""
        why = purpose(request, self.settings.access)
        await self.access.record.remote(who, "faces rejected", asset, address(request), name=name, **why)
        return Response(status_code=204)

    @api.post("/v1/people", status_code=204)
    async def named(self, out: Annotated[Text, Body(embed=True)], request: Request, who: OperatorOfAll) -> Response:
        """Record in the audit log that the faces in a folder of results are given names: `raysift people match`."""
        why = purpose(request, self.settings.access)
        await self.access.record.remote(who, "faces named", out, address(request), **why)
        return Response(status_code=204)


def _shown(who: Identity) -> dict[str, object]:
    return {"name": who.name, "role": who.role, "prefixes": who.prefixes}
