"""A pool of processes, the least that can be written by hand."""

from multiprocessing import Pool
from pathlib import Path

from network import WORKERS, Network, images


def start() -> None:
    """Load the network of this process."""
    global network
    network = Network()


def score(path: str) -> float:
    """The score of a file."""
    return network(Path(path).read_bytes())


if __name__ == "__main__":
    with Pool(WORKERS, start) as pool:
        print(sum(pool.map(score, images(), 8)))
