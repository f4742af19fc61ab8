"""The folders of results that this cluster knows."""

from collections.abc import Iterable
from contextlib import suppress

from cluster.errors import SettingsError
from cluster.settings import Settings
from cluster.storage import buckets
from deployments.catalog.database import folders_of
from deployments.jobs.store import read_jobs


def known_folders(settings: Settings, others: Iterable[str] = ()) -> list[str]:
    """The URIs of `results_uri`, of `others`, and of what the list of jobs and the catalogue name, in this order.

    Both files are on the cluster's head. A catalogue that the running cluster has open is left out.
    """
    places = [settings.results, *others, *(job.out for job in read_jobs(settings.state_dir / "jobs.sqlite"))]
    for catalogue in settings.state_dir.glob("catalog*.duckdb"):
        with suppress(SettingsError):
            places += sorted(folders_of(catalogue))
    return list(dict.fromkeys(map(buckets.normalize, places)))
