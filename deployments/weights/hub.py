"""Weights of the model hub: out of the cache, a mirror, or the hub itself."""

import re
from pathlib import Path
from typing import Literal

from cluster.errors import SettingsError
from cluster.settings import Settings
from deployments.weights import copies, licences
from deployments.weights.copies import Manifest, Store
from deployments.weights.fetching import Order, fetch_apart
from deployments.weights.pickles import CTRANSLATE2, PICKLES, unpinned
from deployments.weights.sources import Source, State, cache

_HUB = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w.-]+)(/(?P<path>[^/\s]\S*))?")
_COMMIT = re.compile("[0-9a-f]{40}")


class Hub(Source):
    """`hf:OWNER/REPO@REVISION`, and /PATH of a file or folder in it: a model of the Hugging Face hub.

    From the cache; else from the mirror, if there is one; else, unless models.offline, from the hub itself, at
    HF_ENDPOINT. A copy of a branch is not updated when the branch moves on; its manifest names the commit.
    A full commit pins its files as a digest does: each is held against the hash that the hub states for it.
    """

    def __init__(self, reference: str, place: str, sha256: str | None, settings: Settings) -> None:
        super().__init__(reference, place, sha256, settings)
        match = self.match(_HUB)
        self.repo, self.revision, self.inner = match["repo"], match["revision"], match["path"] or ""
        self.pinned = sha256 is not None or _COMMIT.fullmatch(self.revision) is not None
        inner = f"--{self.inner.replace('/', '--')}" if self.inner else ""
        pin = f"+{sha256[:16]}" if sha256 else ""
        self.name = f"hf/{self.repo}@{self.revision}{inner}{pin}"  # of its copy, in a cache and in a mirror

    @property
    def title(self) -> str:
        """The repository, with the path within it."""
        return f"{self.repo}/{self.inner}".rstrip("/")

    def path(self) -> Path:
        """The copy in the cache, taken from the mirror or the hub if it is not complete."""
        return self._checked(copies.keep(self.home(), self.reference, self._fill, self._check))

    def home(self) -> Path:
        """The folder of its copy in the cache."""
        return cache(self.settings) / self.name

    def copy(self) -> Manifest | None:
        """The manifest of the copy in the cache, if it is complete."""
        return copies.whole(self.home(), self.reference)

    def _mirror(self) -> Store | None:
        mirror = self.settings.models.mirror
        return Store(mirror, self.settings.s3_endpoint) if mirror else None

    def state(self) -> State:
        """Whether a copy is in the cache or in the mirror; the hub is not asked."""
        if here := self.copy():
            return self._state("cache", here)
        try:
            mirror = self._mirror()
            if mirror and (there := mirror.whole(self.name, self.reference)):
                return self._state("mirror", there)
        except SettingsError as error:
            return State("mirror", False, licences.PUBLISHED.get(self.repo), self.revision, missing=str(error))
        known = (False, licences.PUBLISHED.get(self.repo), self.revision)
        if self.inner.endswith(PICKLES) and not self.inner.endswith(CTRANSLATE2) and not self.pinned:
            return State("nowhere", *known, missing=unpinned(self.reference, self.inner))
        if self.settings.models.offline:
            return State("nowhere", *known, missing=f"It is {self._absent()}, and models.offline forbids the hub.")
        return State("hub", *known, missing="It is fetched when it is first needed, or by `raysift models pull`.")

    def _state(self, origin: Literal["cache", "mirror"], copy: Manifest) -> State:
        return State(
            origin, True, copy.licence or licences.PUBLISHED.get(self.repo), copy.commit or self.revision, copy.size
        )

    def _absent(self) -> str:
        mirror = self.settings.models.mirror
        return f"not in the cache ({cache(self.settings)})" + (f" or the mirror ({mirror})" if mirror else "")

    def _fill(self, to: Path) -> Manifest:
        if (mirror := self._mirror()) and (there := mirror.whole(self.name, self.reference)):
            taken = mirror.take(there.files, to, f"{self.name}/{copies.FILES}")
            for path, file in there.files.items():
                if taken[path] != file:
                    raise SettingsError(
                        f"{mirror.uri}/{self.name}/{copies.FILES}/{path} is not the file that its manifest states. "
                        "Delete it and run `raysift models pull` again."
                    )
            return there
        if self.settings.models.offline:
            raise SettingsError(
                f"model {self.reference!r} is {self._absent()}, and models.offline forbids the hub. Run `raysift "
                "models pull --to URI` where the hub can be reached, and set models.mirror to that URI."
            )
        return fetch_apart(
            Order(
                source=self.reference,
                repo=self.repo,
                revision=self.revision,
                inner=self.inner,
                pinned=self.pinned,
                to=to,
            )
        )

    def _check(self, files: Path) -> None:
        self._checked(files)

    def _checked(self, files: Path) -> Path:
        return self.checked(files / self.inner, code=self.pinned)
