"""Groups of faces whose vectors are in a real Chroma server, where a scan puts them."""

import pyarrow as pa
import pytest

from cluster.people.api_types import PeopleQuery
from cluster.results.codec import SCHEMA
from cluster.settings import Settings
from cluster.vectors import Vectors, VectorsDown
from deployments.catalog.catalog import Catalog
from deployments.catalog.people.faces import StoredVectors
from tests.deployments.catalog.people.conftest import ANN, DISTANCE, face, uri
from tests.support.servers.chroma import chroma
from tests.support.stored import commit, found, row


def test_faces_of_pictures_and_of_segments_of_a_film_are_grouped_by_stored_vectors(tmp_path):
    text = found("ocr", "text", 0.9, text="before the face")
    rows = [row(uri(n), text, face(1, n), unit=n) for n in range(2)]
    rows += [
        row("s3://b/film.mp4", face(1, n, time_s=60.0 * n + 1), segment=(n, 3, 60.0), kind="video", unit=5 + n)
        for n in range(2)
    ]
    with chroma(tmp_path / "chroma") as server:
        settings = Settings(state_dir=tmp_path, chroma={"port": int(server.url.rpartition(":")[2])})
        Vectors.configured(settings).upsert(pa.Table.from_pylist(rows, schema=SCHEMA))
        catalog = Catalog(":memory:", vectors=StoredVectors(settings))
        catalog.load(commit(tmp_path / "out", "1.parquet", *rows))
        while (page := catalog.people(PeopleQuery(), DISTANCE, None, ANN)).pending:  # it waits a second by itself
            pass
        (group,) = page.groups
        assert (group.faces, group.files) == (4, 3)
    with pytest.raises(VectorsDown):
        while catalog.people(PeopleQuery(), DISTANCE, ("s3://b",), ANN).pending:
            pass
    catalog.close()
