"""What `raysift erase` would erase: from its options to an Erasure, without any change."""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

from cluster.access.holds import Hold, Holds, held, refuse_held
from cluster.errors import SettingsError
from cluster.people.store import faces_named
from cluster.results import layout
from cluster.settings import Settings
from cluster.storage import buckets
from commands.access.options import me
from commands.enrolment import face_gallery, face_rejections, stored_faces, watch_list
from commands.erasure.options import as_asset, load_head
from commands.terminal import waiting
from deployments.detectors.face import Face
from deployments.jobs import job as job_file
from deployments.jobs.store import read_jobs
from pipelines.erasure import pending, people
from pipelines.erasure.pending import Erasure, Person
from pipelines.erasure.selection import Selected, Wanted, files_of_jobs, leave, measure, select
from pipelines.results.folders import known_folders

DAY_S = 86_400


@dataclass(slots=True)
class Plan:
    """An erasure that has not begun, and what is known of its size."""

    settings: Settings
    erasure: Erasure
    selected: Selected
    photos: int = 0  # of the person, rejected faces included
    said: int = 0  # faces that reviewers have given the person's name
    notes: list[str] = field(default_factory=list)  # sentences for the operator

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it is stored."""
        person, selected = self.erasure.person, self.selected
        if person is not None:
            return not (person.files or self.photos or self.said)
        return not (selected.rows or selected.files or self.erasure.erased_jobs)


def plan(
    assets: list[str],
    under: list[str],
    person: str | None,
    jobs: list[str],
    older_than: str | None,
    retention: bool,
    sources: list[str],
) -> Plan:
    """Find what these options select. SettingsError if a legal hold covers any of it, or an erasure is unfinished.

    What is old and held is left out instead: a nightly erasure goes on with the rest.
    """
    settings = load_head()
    state = settings.state_dir.absolute()
    pending.refuse_unfinished(state)
    outs = known_folders(settings, sources)
    days = settings.retention.days if retention else None if older_than is None else _days(older_than)
    if retention and days is None:
        raise SettingsError("retention.days is not set: nothing is too old. Set it, or give --older-than.")
    now = datetime.now(UTC)
    erasure = Erasure(
        id=f"erasure-{now:%Y%m%d-%H%M%S}-{uuid4().hex[:6]}",
        by=me().name,
        began=now.isoformat(timespec="seconds"),
        selected_by="person" if person else "asset" if assets else "under" if under else "job" if jobs else "age",
        outs=outs,
        assets=sorted(map(as_asset, assets)),
        under=list(map(buckets.normalize, under)),
        jobs=sorted(jobs),
        before_s=None if days is None else time.time() - days * DAY_S,
        person=None if person is None else Person(name=person, vectors=[], files={}),
    )
    _check_apart(erasure.under, outs)
    _check_jobs(jobs, outs, settings)
    return choose(erasure, settings)


def choose(erasure: Erasure, settings: Settings) -> Plan:
    """Fill in what the options of an erasure select now. SettingsError if a legal hold covers any of it."""
    holds, made = Holds(settings.state_dir).all(), Plan(settings, erasure, Selected())
    if erasure.person is not None:
        _choose_person(made, erasure.person.name)
    else:
        with waiting("looking through the results"):
            _choose_files(made, holds)
    refuse_held(holds, erasure.touched.items())
    return made


def _choose_files(made: Plan, holds: list[Hold]) -> None:
    erasure, endpoint = made.erasure, made.settings.s3_endpoint
    wanted = Wanted(frozenset(erasure.assets), tuple(erasure.under), frozenset(erasure.jobs), erasure.before_s)
    made.selected = selected = select(wanted, erasure.outs, endpoint)
    if erasure.before_s is not None:
        _leave_held(made, holds)
    erasure.files = selected.files
    erasure.others = selected.others | selected.staying | files_of_jobs(erasure.outs, erasure.erased_jobs, endpoint)


def _choose_person(made: Plan, name: str) -> None:
    settings, erasure = made.settings, made.erasure
    _, config, _ = stored_faces(None)
    said = faces_named(settings.state_dir, name)
    with waiting("looking through the results"):
        watch = watch_list(config, settings)
        known = people.find(name, erasure.outs, watch, Face.version(config), settings.s3_endpoint, said)
    erasure.person = known.person
    photos = sum(reference.name == name for reference in face_gallery(settings).references())
    made.photos = photos + face_rejections(settings).count(name)
    made.said = len(said)
    if known.other:
        made.notes.append(
            f"{known.other} files were analysed by another face model, whose vectors cannot be compared with the "
            "photos: there only faces that it had named are erased."
        )
    if known.mentions:
        made.notes.append(
            f"{len(known.mentions)} files have the name in their address or in a text that was read or heard. They are "
            f"not erased, as others may have this name; `raysift erase --asset` does it: {_some(known.mentions)}"
        )


def _days(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)d?", text)
    if match is None or float(match[1]) <= 0:
        raise SettingsError(f"--older-than {text!r} is no number of days. Write it as 90d.")
    return float(match[1])


def _check_jobs(jobs: Iterable[str], outs: list[str], settings: Settings) -> None:
    there = {name for out in outs for name in layout.jobs(out, settings.s3_endpoint)}
    for job in jobs:
        if job not in there:
            raise SettingsError(f"there is no job {job!r} in {', '.join(outs)}. Correct the name, or give --from.")


def _check_apart(under: Iterable[str], outs: list[str]) -> None:
    for folder_uri in under:
        if folder_uri.endswith("/"):
            raise SettingsError(f"--under {folder_uri} is no folder and no bucket. Name folders of media.")
        if inside := [out for out in outs if f"{out}/".startswith(f"{folder_uri}/")]:
            raise SettingsError(f"--under {folder_uri}: the results {inside[0]} lie in it. Name folders of media.")


def _leave_held(made: Plan, holds: list[Hold]) -> None:
    """Select the jobs that are as old, and leave out what is held: files with the containers around them, and jobs that
    name such files.
    """
    selected, erasure, endpoint = made.selected, made.erasure, made.settings.s3_endpoint
    kept = {uri: parent for uri, parent in selected.files.items() if held(holds, [(uri, parent)])}
    erasure.old_jobs = []
    for job in _old_jobs(made):
        if holds and held(holds, files_of_jobs(erasure.outs, [job], endpoint).items()):
            made.notes.append(f"the folder of {job} names files that are held and stays")
        else:
            erasure.old_jobs.append(job)
    if kept:
        made.notes.append(f"{len(kept):,} old files stay: {_some([str(hold) for hold in holds])}")
        leave(selected.files, kept)
        measure(selected, (), erasure.outs, endpoint)


def _old_jobs(made: Plan) -> list[str]:
    """The jobs that were submitted, started and ended before the limit."""
    endpoint, before_s = made.settings.s3_endpoint, made.erasure.before_s or 0.0
    listed = {job.job: job for job in read_jobs(made.settings.state_dir / "jobs.sqlite")}
    old = []
    for out in made.erasure.outs:
        for name in layout.jobs(out, endpoint):
            job = listed.get(name) or job_file.read(out, name, endpoint)
            times = [job.submitted_at, job.started_at or 0.0, job.ended_at or 0.0] if job else []
            if job and 0 < max(times) < before_s:
                old.append(name)
    return old


def _some(values: list[str], most: int = 5) -> str:
    return ", ".join(values[:most]) + (f" and {len(values) - most} more" if len(values) > most else "")
