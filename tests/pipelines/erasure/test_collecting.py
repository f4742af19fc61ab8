"""What a proof searches for is what the stores hold of a vector."""

import numpy as np

from cluster.chroma.client import Chroma, stored_forms
from tests.support.servers.chroma import chroma

ENOUGH = 1100  # vectors: Chroma writes the file of the index after 1000


def test_chroma_keeps_deleted_vectors_in_the_forms_that_are_searched_for_until_its_folder_is_deleted(tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "chroma"
    vectors = {
        ("image-128", "cosine"): rng.standard_normal((ENOUGH, 128)).astype(np.float32),
        ("faces-128", "l2"): rng.standard_normal((ENOUGH, 128)).astype(np.float32),
    }
    ids = [f"{n:032x}:clip:0" for n in range(ENOUGH)]
    with chroma(folder) as server:
        client = Chroma(server.url, 30.0)
        for (name, distance), values in vectors.items():
            client.upsert(name, distance, ids, list(values), [{"asset": id[:32]} for id in ids])
            client.call(name, "delete", ids=[ids[0], ids[-1]])
        client.ask(lambda chroma: [chroma.delete_collection(name) for name, _ in vectors])
    index = b"".join(file.read_bytes() for file in folder.rglob("data_level0.bin"))
    log = (folder / "chroma.sqlite3").read_bytes()
    for (_, distance), values in vectors.items():
        assert stored_forms(ids[0], values[0], distance)[-1].tobytes() in index, distance
        assert stored_forms(ids[-1], values[-1], distance)[0].tobytes()[:64] in log, distance  # not in the index yet
