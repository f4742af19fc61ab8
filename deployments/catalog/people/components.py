"""Which faces are probably of one person, by their vectors alone."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from deployments.catalog.people.faces import FaceVector, SeenFaces

STRICTER = 0.8  # times the distance of a hit: DBSCAN chains neighbours, and clusters of two people must not merge
LEAST = 3  # faces in a cluster, at least
NEIGHBOURS = 64  # maximum for each face in the graph; it limits memory
MOST_POINTS = 100_000  # in one clustering
ALONE = -1  # the component of a face that is like too few others, or that has no vector

Components = npt.NDArray[np.int64]


def components(seen: SeenFaces, distance: float) -> tuple[Components, int]:
    """A number for each face, equal for those of one cluster, ALONE for the rest; and how many were left out.

    DBSCAN (Ester et al. 1996), model by model, since vectors of two models cannot be compared. `distance`: that at
    which a face is an enrolled person. Faces of one file that are nearer than half the clustering distance are one
    point, with their number as its weight: who is seen in LEAST frames of one film is a cluster. Memory: 64 neighbours
    for each point; time grows with the square of the number of points.
    """
    numbers = np.full(len(seen.faces), ALONE, np.int64)
    within, next_number, left_out = STRICTER * distance, 0, 0
    by_model: dict[str, list[int]] = {}
    for n, (face, vector) in enumerate(zip(seen.faces, seen.vectors, strict=True)):
        if vector is not None:
            by_model.setdefault(face.model, []).append(n)
    for members in by_model.values():
        points, of_point = _points(seen, members, within / 2)
        left_out += sum(point < 0 for point in of_point)
        weights = np.bincount([point for point in of_point if point >= 0], minlength=len(points))
        clusters = np.append(clustered(np.asarray(points), within, weights), ALONE)  # the last: of those left out
        own = clusters[of_point]
        numbers[members] = np.where(own < 0, ALONE, own + next_number)
        next_number += int(clusters.max()) + 1
    return numbers, left_out


def _points(seen: SeenFaces, members: Sequence[int], same: float) -> tuple[list[FaceVector], list[int]]:
    """The points of these faces, and for each face the number of its point; -1 beyond MOST_POINTS."""
    points: list[FaceVector] = []
    of_point: list[int] = []
    file, own = -1, list[int]()  # points of the file
    for n in members:
        vector = seen.vectors[n]
        assert vector is not None
        if seen.faces[n].file != file:
            file, own = seen.faces[n].file, []
        apart = [float(np.linalg.norm(points[point] - vector)) for point in own]
        if apart and min(apart) < same:
            of_point.append(own[int(np.argmin(apart))])
        elif len(points) < MOST_POINTS:
            own.append(len(points))
            of_point.append(len(points))
            points.append(vector)
        else:
            of_point.append(-1)
    return points, of_point


def clustered(vectors: FaceVector, within: float, weights: Components | None = None) -> Components:
    """The cluster of each of (n, d) vectors, ALONE for none: scikit-learn's DBSCAN over a graph of neighbours.

    `weights`: how many faces each vector stands for; None: one.
    """
    from scipy.sparse import csr_array
    from sklearn.cluster import DBSCAN
    from sklearn.neighbors import NearestNeighbors

    n, most = len(vectors), min(NEIGHBOURS, len(vectors))
    apart, near = NearestNeighbors(n_neighbors=most, algorithm="brute").fit(vectors).kneighbors(vectors)
    close = apart <= within
    rows = np.repeat(np.arange(n), close.sum(axis=1))
    # a sparse matrix reads 0 as no neighbour
    graph = csr_array((np.maximum(apart[close], 1e-6), (rows, near[close])), shape=(n, n))
    clustering = DBSCAN(eps=within, min_samples=LEAST, metric="precomputed")
    return np.asarray(clustering.fit_predict(graph.maximum(graph.T), sample_weight=weights), np.int64)
