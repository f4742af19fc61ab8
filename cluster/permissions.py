"""What a job may read and write by the settings, and the operator's proof that extends this for one job."""

import hashlib
import hmac
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cluster.settings import Settings
from cluster.storage.filesystems import normalize
from cluster.storage.roots import OutsideRoots, Roots, refusal


def job_settings(
    settings: Settings, uris: Sequence[str], out: str, proof: str, within: Sequence[str] | None = None
) -> Settings:
    """The settings of one job: a valid proof adds its URIs to `scanning.roots`, and its `out` to `scanning.outs`.

    `within`: as of `limited`.
    """
    if proved(settings, uris, out, proof):
        allowed = {"roots": (*settings.scanning.roots, *uris), "outs": (*settings.scanning.outs, out)}
        settings = settings.model_copy(update={"scanning": settings.scanning.model_copy(update=allowed)})
    return limited(settings, within)


def limited(settings: Settings, within: Sequence[str] | None) -> Settings:
    """The settings with that part of `scanning.roots` which lies under these folders and buckets too; None: all of it.

    What a caller who is limited to them may read, whatever links there are.
    """
    if within is None:
        return settings
    roots, limits = Roots(settings.scanning.roots), Roots(tuple(within))
    both = (*filter(roots.allow, limits.uris), *filter(limits.allow, roots.uris))
    return settings.model_copy(update={"scanning": settings.scanning.model_copy(update={"roots": both})})


def check_job(settings: Settings, uris: Sequence[str], out: str) -> None:
    """Raise OutsideRoots if a job with these settings may not read one of its URIs or store its results in `out`."""
    for uri in uris:
        Roots(settings.scanning.roots).check(uri)
    check_out(settings, out)


def check_out(settings: Settings, out: str) -> None:
    """Raise OutsideRoots if `out` is under neither the settings' folder of results nor `scanning.outs`."""
    if not Roots((settings.results, *settings.scanning.outs)).allow(out):
        raise OutsideRoots(refusal(out, "written", "outs", settings.scanning.outs))


def operator_secret(settings: Settings) -> bytes:
    """The token of this machine's Ray cluster, from where Ray reads it; empty if this process may not read it.

    Whoever has it may run any program on the cluster, and so counts as its operator.
    """
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip().encode()
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    places = [Path(named)] if named else [settings.state_dir / "ray_token", Path.home() / ".ray" / "auth_token"]
    for place in places:
        with suppress(OSError):
            return place.read_bytes().strip()
    return b""


def prove(settings: Settings, uris: Sequence[str], out: str | None) -> str:
    """The operator's proof that a job may read these URIs and write to `out`; empty without Ray's token.

    It is a keyed hash (HMAC-SHA256) of the URIs and of `out`: the token itself is never sent, and the proof is valid
    only for these. It is stored with the job, so that each of its drivers and the API can check it.
    """
    secret = operator_secret(settings)
    if not secret:
        return ""
    message = json.dumps(["raysift scan", [normalize(uri) for uri in uris], normalize(out) if out else None])
    return hmac.new(secret, message.encode(), hashlib.sha256).hexdigest()


def proved(settings: Settings, uris: Sequence[str], out: str | None, proof: str) -> bool:
    """Whether `proof` is the operator's for a job over these URIs into `out`."""
    return bool(proof) and hmac.compare_digest(prove(settings, uris, out).encode(), proof.encode(errors="replace"))
