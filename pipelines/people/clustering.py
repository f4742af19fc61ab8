"""Clusters of unknown faces in stored results; each is probably one person."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.galleries.watchlist import Faces
from pipelines.people.match import current, nameless

STRICTER = 0.8  # times the distance of a hit: DBSCAN chains neighbours, and clusters of two people must not merge
LEAST = 3  # points in a group, at least
NEIGHBOURS = 64  # maximum for each face in the graph; it limits memory
MOST = 100_000  # points in one clustering, at most


@dataclass(frozen=True, slots=True)
class Group:
    """A cluster: its number of faces, and the files that show them, those with the most faces first."""

    faces: int
    uris: list[str]


@dataclass(frozen=True, slots=True)
class Groups:
    """The result: groups, the largest first, and the number of faces that are in none."""

    groups: list[Group]
    alone: int
    left_out: int = 0  # faces beyond MOST points


def group(out: str, model: str, distance: float, s3_endpoint: str | None = None) -> Groups:
    """Cluster the faces of that model without a hit by DBSCAN (Ester et al. 1996) over their vectors.

    Faces of one file that are nearer than half the clustering distance count as one point. Memory: 64 neighbours for
    each point; time grows with the square of the number of points.
    """
    looks: list[npt.NDArray[np.float32]] = []
    weights: list[int] = []  # faces of a point
    owners: list[str] = []
    left_out, within = 0, STRICTER * distance
    of_film: dict[str, list[int]] = {}  # points of files whose segments come one by one
    for answer in current(out, s3_endpoint):
        if answer.model != model:
            continue
        own = [] if answer.row["segment"] is None else of_film.setdefault(answer.row["uri"], [])
        for face in nameless(answer.found):
            vector = np.asarray(face.detection.vectors[0].values, np.float32)
            known = np.asarray([looks[n] for n in own])
            apart = np.linalg.norm(known - vector, axis=1) if len(known) else np.array([np.inf])
            if apart.min() < within / 2:
                weights[own[int(apart.argmin())]] += 1
            elif len(looks) < MOST:
                own.append(len(looks))
                looks.append(vector)
                weights.append(1)
                owners.append(answer.row["uri"])
            else:
                left_out += 1
    if not looks:
        return Groups([], 0, left_out)
    labels = clustered(np.asarray(looks), within)
    groups = [_group(np.flatnonzero(labels == n), weights, owners) for n in range(labels.max() + 1)]
    alone = sum(weights[n] for n in np.flatnonzero(labels < 0))
    return Groups(sorted(groups, key=lambda one: -one.faces), alone, left_out)


def clustered(vectors: Faces, within: float) -> npt.NDArray[np.int64]:
    """The cluster of each of (n, d) vectors, -1 for none: scikit-learn's DBSCAN over a graph of nearest neighbours."""
    from scipy.sparse import csr_array
    from sklearn.cluster import DBSCAN
    from sklearn.neighbors import NearestNeighbors

    n, most = len(vectors), min(NEIGHBOURS, len(vectors))
    apart, near = NearestNeighbors(n_neighbors=most, algorithm="brute").fit(vectors).kneighbors(vectors)
    close = apart <= within
    rows = np.repeat(np.arange(n), close.sum(axis=1))
    # a sparse matrix reads 0 as no neighbour
    graph = csr_array((np.maximum(apart[close], 1e-6), (rows, near[close])), shape=(n, n))
    labels = DBSCAN(eps=within, min_samples=LEAST, metric="precomputed").fit_predict(graph.maximum(graph.T))
    return np.asarray(labels, np.int64)


def _group(members: npt.NDArray[np.int64], weights: list[int], owners: list[str]) -> Group:
    files: dict[str, int] = {}
    for n in members:
        files[owners[n]] = files.get(owners[n], 0) + weights[n]
    return Group(sum(files.values()), sorted(files, key=lambda uri: (-files[uri], uri)))
