"""The cluster, models, settings, keys and users of the fake API."""

import time

from fastapi import FastAPI, HTTPException

from cluster.access import tokens
from cluster.access.api_types import KeyInfo, MadeKey, NewKey, Revoked, UserInfo
from cluster.api_types import DetectorState
from cluster.settings import Scanning, Settings
from cluster.upkeep.api_types import (
    CardState,
    ClusterState,
    DetectorLoad,
    ModelState,
    NodeState,
    SettingState,
    WeightsState,
)
from deployments.api.upkeep.shown_settings import shown
from tests.support.fakes.files import FLOOR, FOLDER, MODELS

GB, DAY_S = 1e9, 86_400.0
MADE_AT = 1_795_000_000.0  # 2026-11-18
HEAD = NodeState(
    name="head <b>",
    address="10.0.0.1",
    alive=True,
    head=True,
    cpus=16,
    gpus=2,
    cpu_use=0.42,
    memory_used=40 * GB,
    memory_total=128 * GB,
    disk_free=300 * GB,
    disk_total=1000 * GB,
    store_used=0.3 * GB,
    store_total=2 * GB,
)
AWAY = NodeState(name="worker-7", address="10.0.0.7", alive=False, head=False)
CARDS = (
    CardState(name="NVIDIA L4 0", node="10.0.0.1", use=0.85, memory_used=18 * GB, memory_total=24 * GB),
    CardState(name="NVIDIA L4 1", node="10.0.0.1", use=0.1, memory_used=3 * GB, memory_total=24 * GB),
)
LOADS = {
    "face": DetectorLoad(
        name="face", state=DetectorState.OK, message="it answers", replicas=2, waiting=0, working=1,
        samples_per_s=12.5, cache_hits=0.25, gpu_memory=2 * GB,
    ),
    "nsfw": DetectorLoad(
        name="nsfw", state=DetectorState.ASLEEP, message="it starts at the next request",
        replicas=0, waiting=0, working=0,
    ),
    "ocr": DetectorLoad(
        name="ocr", state=DetectorState.BUSY, message="it has worked on a call for 12 s", replicas=1, waiting=7,
        working=2, samples_per_s=1.5, cache_hits=0.0,
    ),
    "restraint": DetectorLoad(
        name="restraint", state=DetectorState.FAILING, message="it does not answer: OutOfMemoryError <b>",
        replicas=1, waiting=0, working=0,
    ),
}  # fmt: skip
NAMES = sorted({*MODELS, *LOADS})
BUSY = ClusterState(
    nodes=(HEAD, AWAY),
    cards=CARDS,
    detectors=tuple(LOADS.get(name, LOADS["face"].model_copy(update={"name": name})) for name in NAMES),
    jobs={"waiting": 3, "listing": 0, "running": 1, "blocked": 0},
    files_per_s=6.25,
    unread=(),
    silent=(),
    age_s=4.0,
    dashboard_url="http://127.0.0.1:8265",
)
SILENT = BUSY.model_copy(
    update={
        "nodes": (),
        "cards": (),
        "jobs": None,
        "files_per_s": None,
        "age_s": None,
        "unread": ("nodes", "metrics", "health"),
        "detectors": tuple(DetectorLoad(name=name, state=None, message="") for name in NAMES),
    }
)
SETTINGS = Settings(scanning=Scanning(roots=("s3://evidence", "/data/media"), outs=(f"{FOLDER}/results",)))


class FakeUpkeep:
    """The routes for those who run the cluster. `state`: of the cluster; `keys`: by id."""

    def __init__(self) -> None:
        self.state = BUSY
        self.settings = SETTINGS
        self.models_down = False
        self.delay_s = 0.0  # of the state of the cluster
        self.users = [
            UserInfo(name="bob <b>", role="reviewer", prefixes=None, made_at=MADE_AT, used_at=MADE_AT + DAY_S),
            UserInfo(name="vera", role="viewer", prefixes=("s3://evidence/case-7",), made_at=MADE_AT, used_at=None),
        ]
        fields = {"made_at": MADE_AT, "expires_at": None, "revoked_at": None, "used_at": None, "prefixes": None}
        self.keys = [
            KeyInfo(**fields | {"id": "a" * 12, "name": "nightly scan", "role": "operator", "used_at": MADE_AT}),
            KeyInfo(**fields | {"id": "b" * 12, "name": "old tool", "role": "viewer", "expires_at": MADE_AT + 1}),
            KeyInfo(**fields | {"id": "c" * 12, "name": "lost", "role": "admin", "revoked_at": MADE_AT + 2}),
        ]

    def add_routes(self, app: FastAPI) -> None:
        """Add the routes to the fake's application."""
        app.add_api_route("/v1/cluster", self.cluster, methods=["GET"])
        app.add_api_route("/v1/models", self.models, methods=["GET"])
        app.add_api_route("/v1/settings", self.shown_settings, methods=["GET"])
        app.add_api_route("/v1/users", self.list_users, methods=["GET"])
        app.add_api_route("/v1/keys", self.list_keys, methods=["GET"])
        app.add_api_route("/v1/keys", self.make_key, methods=["POST"])
        app.add_api_route("/v1/keys/{id}", self.revoke, methods=["DELETE"])

    def cluster(self) -> ClusterState:
        """The state that was set, after `delay_s`."""
        time.sleep(self.delay_s)
        return self.state

    def models(self) -> list[ModelState]:
        """The detectors of MODELS: the weights of the first are missing; the second runs on a GPU, the last nowhere."""
        if self.models_down:
            raise HTTPException(504, "the places of the weights do not answer: try again")
        names = sorted(MODELS)
        devices = dict.fromkeys(names, "cpu") | {names[1]: "gpu", names[-1]: None}
        return [
            ModelState(
                detector=name,
                model=MODELS[name],
                floor=FLOOR,
                backend="embedded",
                device=devices[name],  # type: ignore[arg-type]
                weights=(
                    WeightsState(
                        title=f"{name} weights",
                        origin="hub" if name == names[0] else "package",
                        there=name != names[0],
                        licence="Apache-2.0",
                        revision="1.0",
                        bytes=None if name == names[0] else 183_200_000,
                        missing="they are not on this machine: `raysift models pull`" if name == names[0] else "",
                    ),
                ),
            )
            for name in names
        ]

    def shown_settings(self) -> list[SettingState]:
        """What the real API shows of `settings`."""
        return shown(self.settings)

    def list_users(self) -> list[UserInfo]:
        """The users."""
        return self.users

    def list_keys(self) -> list[KeyInfo]:
        """The keys, oldest first."""
        return self.keys

    def make_key(self, wanted: NewKey) -> MadeKey:
        """A key, which is shown here only."""
        made, now = tokens.new(), time.time()
        ends = now + wanted.days * DAY_S if wanted.days else None
        facts = {"made_at": now, "expires_at": ends, "revoked_at": None, "used_at": None}
        self.keys.append(KeyInfo(id=made.id, **wanted.model_dump(exclude={"days"}), **facts))
        return MadeKey(id=made.id, key=str(made))

    def revoke(self, id: str) -> Revoked:
        """End a key; 404 if there is no valid one."""
        for place, key in enumerate(self.keys):
            if key.id == id and key.revoked_at is None:
                self.keys[place] = key.model_copy(update={"revoked_at": time.time()})
                return Revoked(id=id)
        raise HTTPException(404, f"there is no valid key {id!r}; GET /v1/keys lists them")
