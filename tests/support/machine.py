"""A head's stores for tests of erasure: results, a job, the list of jobs, cache, galleries, logs, and two indexes."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster import cache
from cluster.access.credential import open_store, store_file
from cluster.access.identity import Identity
from cluster.cases.store import CaseStore
from cluster.decisions.api_types import NewDecision
from cluster.decisions.entries import MediaFile
from cluster.decisions.store import FILE as DECISIONS
from cluster.decisions.store import DecisionStore
from cluster.people.face import face_id
from cluster.people.store import FILE as FACES
from cluster.people.store import FaceStore
from cluster.records import Vector, asset_id
from cluster.settings import Settings
from cluster.vectors import Vectors
from deployments.catalog.catalog import Catalog
from deployments.detectors.face import Face, FaceConfig
from deployments.galleries.watchlist import Rejections
from deployments.jobs import folder
from deployments.jobs import job as job_file
from deployments.jobs.job import Job
from deployments.jobs.store import JobStore
from deployments.jobs.webhooks.outbox import FILE, Delivery, Outbox
from pipelines.ledger.left_out import LEFT_OUT
from pipelines.ledger.listing import LEDGER
from pipelines.results.indexing import Indexing
from tests.support.servers.chroma import chroma, free_port
from tests.support.stored import NOON, commit, found, row

JOB = "scan-20261122-120000-abcdef"
GONE, STAYS, OTHER = "s3://bucket/case-7/gone.jpg", "s3://bucket/case-7/stays.jpg", "s3://bucket/case-8/other.jpg"
MODEL = Face.version(FaceConfig())
ANN = "Ann Example"
BOB = Identity("Bob", "reviewer", id="b" * 12)
BOX = (0.1, 0.1, 0.2, 0.2)


def values(seed: int, length: int = 128) -> tuple[float, ...]:
    """A random vector; the same seed gives the same one."""
    return tuple(np.random.default_rng(seed).standard_normal(length).astype(np.float32).tolist())


def as_bytes(vector: tuple[float, ...]) -> bytes:
    """A vector as float32."""
    return np.asarray(vector, np.float32).tobytes()


def picture(seed: int) -> bytes:
    """Bytes of a thumbnail."""
    return b"\xff\xd8" + np.random.default_rng(1000 + seed).bytes(600)


FACE = {GONE: values(1), STAYS: values(2), OTHER: values(3)}
IMAGE = {GONE: values(4, 512), STAYS: values(5, 512), OTHER: values(6, 512)}


def stored_row(uri: str, *more: object, minutes: int = 0, **facts: object) -> dict[str, object]:
    """A row of a file with a face, a vector of the picture, a text and a thumbnail."""
    face = found("face", "face", 0.9, MODEL, box=BOX, vectors=(Vector("faces", FACE[uri]),))
    image = found("clip", "", 1.0, vectors=(Vector("image", IMAGE[uri]),))
    text = found("ocr", "text", 0.9, text=f"a text of {uri[-9:-4]}")
    seed = list(FACE).index(uri)
    return row(uri, face, image, text, *more, minutes=minutes, thumbnail=picture(seed), **facts)


class Machine:
    """The head's state folder and its results. Nothing runs."""

    def __init__(self, place: Path) -> None:
        """Fill the stores of `place`."""
        self.place, self.state, self.results = place, place / "state", place / "results"
        self.settings = Settings(
            state_dir=self.state,
            results_uri=self.results.as_uri(),
            galleries_uri=(place / "galleries").as_uri(),
            api={"port": free_port()},
            chroma={"port": free_port()},
        )
        self.out = self.results.as_uri()
        commit(self.results, "1.parquet", stored_row(GONE, job=JOB), stored_row(STAYS, job=JOB, unit=1))
        commit(self.results, "2.parquet", stored_row(GONE, job="later", minutes=60), stored_row(OTHER, job="later"))
        (self.results / ".3.parquet.part").write_bytes(as_bytes(FACE[GONE]))  # of a writer that was killed
        self._write_job()
        self._write_state()

    @property
    def environment(self) -> dict[str, str]:
        """The settings as environment variables of commands."""
        ports = {"RAYSIFT_API__PORT": self.settings.api.port, "RAYSIFT_CHROMA__PORT": self.settings.chroma.port}
        return {
            "RAYSIFT_STATE_DIR": str(self.state),
            "RAYSIFT_RESULTS_URI": self.out,
            "RAYSIFT_GALLERIES_URI": self.settings.galleries_uri,
            **{name: str(port) for name, port in ports.items()},
        }

    def _write_job(self) -> None:
        times = {"started_at": NOON.timestamp(), "ended_at": NOON.timestamp() + 60}
        job = Job(
            JOB,
            ("s3://bucket/case-7", GONE),
            self.out,
            NOON.timestamp(),
            state="finished",
            units=2,
            files_listed=4,
            **times,
        )
        self.job = job
        job_file.write(job)
        folder.write(self.out, JOB, "queue", {"cluster": "raysift", **asdict(job)})
        failures = [{"step": "fetch", "reason": "it is gone", "units": 1, "example": GONE}]
        folder.write(self.out, JOB, "report", {"failures": failures, "labels": [{"label": ANN, "files": 1}]})
        folder.write(self.out, JOB, "left_out", {"groups": [{"reason": "as", "examples": [STAYS, GONE]}]})
        place = self.results / "_raysift" / "jobs" / JOB
        for name, schema in (("ledger", LEDGER), ("left_out", LEFT_OUT)):
            (place / name).mkdir()
            rows = [{field.name: None for field in schema} | {"uri": uri} for uri in (GONE, STAYS)]
            pq.write_table(pa.Table.from_pylist(rows, schema), place / name / "000000.parquet")

    def _write_state(self) -> None:
        open_store(self.settings).close()
        (self.state / "ray_token").write_text("of this machine's cluster")  # Chroma's token is derived from it
        cases = CaseStore(store_file(self.settings))
        cases.add("harbour", f"{ANN}, by {BOB.name}", (GONE, OTHER), BOB.name)
        cases.close()
        store = JobStore(self.state / "jobs.sqlite")
        store.put(self.job)
        store.close()
        outbox = Outbox(self.state / FILE)
        outbox.add_hits("rule", "a.parquet", [(JOB, asset_id(uri)) for uri in (GONE, STAYS)])
        for uri in (GONE, STAYS):
            body = json.dumps({"assets": [asset_id(uri)]}).encode()
            outbox.add(Delivery(f"msg-{asset_id(uri)}", "https://hooks", "hit", JOB, body, NOON.timestamp()))
        outbox.close()
        decisions = DecisionStore(self.state / DECISIONS)
        for uri in (GONE, STAYS):
            file = MediaFile(asset_id(uri), uri, None, {"face": MODEL})
            for version, note in enumerate(("a street", f"with {ANN}, as in {GONE}")):
                decisions.decide([(file, NewDecision(version=version, label="relevant", note=note))], BOB)
        decisions.close()
        faces = FaceStore(self.state / FACES)
        for uri, name in ((GONE, ANN), (STAYS, "#1f2e3d4c5b6a")):
            id = face_id(asset_id(uri), None, BOX)
            new = NewDecision(version=0, label=name, tags=(ANN,) if uri == STAYS else (), note="named")
            faces.correct([(MediaFile(id, uri, None, {"face": MODEL}), new)], BOB)
        faces.close()
        cache.open_cache(self.settings).put({"gone": as_bytes(FACE[GONE]), "another": b"an answer"})
        rejections = Rejections(f"{self.settings.galleries}/face")
        for uri in (GONE, STAYS):
            rejections.add("Bob", FACE[uri], MODEL)
        (self.state / "app.log").write_text(f"started\nopened {GONE}\nopened {STAYS}\n{ANN} was found\n")

    def fill_catalogue(self) -> None:
        """Load the results into the catalogue's file."""
        catalogue = Catalog(self.state / "catalog-3.duckdb")
        catalogue.load_all(self.out)
        catalogue.close()

    def fill_chroma(self) -> None:
        """Fill Chroma's folder from the results, with a server that is killed afterwards."""
        with chroma(self.state / "chroma", self.settings.chroma.port) as server:
            Indexing(self.out, Vectors(server.url), lambda folder: 0).once()

    def holding(self, *needles: bytes) -> list[str]:
        """As the function, of all stores."""
        return holding(self.place, *needles)


def holding(place: Path, *needles: bytes) -> list[str]:
    """The files below a folder in which one of these is, as bytes or, of Parquet, as a value; without the audit log."""
    return sorted(
        str(file.relative_to(place))
        for file in place.rglob("*")
        if file.is_file() and not file.name.startswith("audit.") and _has(file, needles)
    )


def traces(uri: str) -> list[bytes]:
    """What stores could hold of a file: its address, id, name, vectors and thumbnail."""
    seed = list(FACE).index(uri)
    vectors = [as_bytes(vector)[at : at + 64] for vector in (FACE[uri], IMAGE[uri]) for at in (0, 128)]
    return [uri.encode(), asset_id(uri).encode(), *vectors, picture(seed)[200:300]]


def _has(file: Path, needles: tuple[bytes, ...]) -> bool:
    try:
        content = file.read_bytes()
    except FileNotFoundError:  # of a running cluster: it was deleted meanwhile
        return False
    if file.suffix == ".json" and "rejected" in str(file):  # a vector is text there
        content += as_bytes(tuple(json.loads(content)["vector"]))
    if file.suffix == ".parquet":
        content += b"".join(_decoded(pq.ParquetFile(file).read().to_pylist()))
    return any(needle in content for needle in needles)


def _decoded(value: object) -> list[bytes]:
    """All strings, bytes and lists of numbers in rows of Parquet, as bytes."""
    if isinstance(value, str):
        return [value.encode()]
    if isinstance(value, bytes):
        return [value]
    if isinstance(value, dict):
        return [part for each in value.values() for part in _decoded(each)]
    if isinstance(value, list) and value and isinstance(value[0], float):
        return [np.asarray(value, np.float32).tobytes()]
    return [part for each in value for part in _decoded(each)] if isinstance(value, list) else []
