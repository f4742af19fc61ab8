"""Shared by the commands on people: the settings of the detector face, its gallery, the enrolled people."""

import os
from typing import Annotated

import typer

from cluster.errors import SettingsError
from cluster.settings import Settings, load
from cluster.storage import buckets
from commands.terminal import waiting
from deployments.detectors.face import Face, FaceConfig
from deployments.galleries.store import Gallery
from deployments.galleries.watchlist import Rejections, WatchList
from deployments.serving.placement import configs

Name = Annotated[str, typer.Argument(help="As `raysift people list` shows it.")]
Source = Annotated[str | None, typer.Option("--from", help="A folder of results; default: settings.results_uri.")]


def stored_faces(source: str | None) -> tuple[Settings, FaceConfig, str]:
    """The settings, the detector's config, and the URI of the results that a command works on."""
    settings = load()
    config = configs(settings).get("face")
    if not isinstance(config, FaceConfig):
        raise SettingsError("the detector face is not enabled. Set detectors.face.enabled.")
    # photos are embedded on this machine, even if another cluster analyses samples
    return settings, config.there, buckets.normalize(source or settings.results)


def watch_list(config: FaceConfig, settings: Settings) -> WatchList:
    """The enrolled people, with vectors of the detector's own networks, which are loaded here."""
    if not face_gallery(settings).references():
        return WatchList([], {}, config.distance)
    if settings.s3_endpoint:  # as in a replica
        os.environ["AWS_ENDPOINT_URL"] = settings.s3_endpoint
    with waiting("loading the detector face"):
        enrolled = Face(config).enrolled
        assert enrolled is not None  # settings give every config its gallery
        return enrolled.watch_list()


def face_gallery(settings: Settings) -> Gallery:
    """The gallery of enrolled people's photos."""
    return Gallery(f"{settings.galleries}/face", settings.s3_endpoint)


def face_rejections(settings: Settings) -> Rejections:
    """The faces that were rejected for enrolled people."""
    return Rejections(f"{settings.galleries}/face", settings.s3_endpoint)
