"""Tells the endpoints of webhooks of the ends of jobs and of hits, from threads of its own."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

from cluster.errors import SettingsError
from cluster.records import ACTIVE, iso_time
from cluster.results import files as results_files
from cluster.settings import Settings
from cluster.webhooks.endpoint import Webhook
from deployments.jobs import folder
from deployments.jobs.repeating import repeat
from deployments.jobs.store import End, JobStore
from deployments.jobs.webhooks import hits
from deployments.jobs.webhooks.delivery import deliver, message_id
from deployments.jobs.webhooks.outbox import FILE, Delivery, Outbox

log = logging.getLogger(__name__)

HITS_EVERY_S = 60.0  # at most one delivery of hits for each job, and one reading of its results while it runs
HITS_A_DELIVERY = 100
AGAIN_S = 60.0  # until results that could not be read are tried again
TIDY_EVERY_S = 3600.0


class Announcer:
    """Turns the ends of jobs and the hits in their results into deliveries, and makes these.

    The end of a job is noted with its state, and stays noted until its deliveries are on disk. A delivery has an id
    that depends on what it says, so that neither is lost or doubled when the head is restarted. An endpoint that took
    a delivery but whose answer was lost gets it again, with the same id.
    """

    def __init__(self, jobs: JobStore, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._jobs, self._settings, self._clock = jobs, settings, clock
        self._webhooks = settings.webhooks
        self._of_hits = [webhook for webhook in settings.webhooks if "hit" in webhook.events]
        # without endpoints there is no file, unless an earlier one is to be given up
        path = settings.state_dir / FILE
        self.outbox = Outbox(path) if self._webhooks or path.exists() else None
        self._tidy_at = self._look_at = 0.0
        self._away: dict[str, float] = {}  # folders of results that could not be read -> when they are tried again

    def follow(self, every_s: float) -> None:
        """Start the threads: one that collects, and one for each endpoint, so that one that hangs delays no other."""
        repeat("webhooks", self.collect, every_s)
        for number, webhook in enumerate(self._webhooks):
            repeat(f"webhook {number}", partial(self.deliver, webhook), every_s)

    def collect(self) -> None:
        """Put everything that is to be told and not yet in the outbox there."""
        now, ends = self._clock(), self._jobs.ends()
        if self.outbox is None:
            for end in ends:
                self._jobs.mark_announced(end)
            return
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_EVERY_S
            self.outbox.tidy([webhook.url for webhook in self._webhooks], now)
        ends = [end for end in ends if self._away.get(end.job.out, 0.0) <= now]
        for end in ends:
            self._announce_end(self.outbox, end, now)
        read = self._read_hits(self.outbox, ends, now)
        for end in ends:
            if end.job.out in read:
                self._jobs.mark_announced(end)
        for webhook in self._of_hits:
            self._announce_hits(self.outbox, webhook, now)

    def deliver(self, webhook: Webhook) -> None:
        """Make the deliveries to an endpoint that are due."""
        assert self.outbox is not None
        for delivery in self.outbox.due(webhook.url, self._clock()):
            error = deliver(webhook, delivery.id, delivery.body)
            self.outbox.record_attempt(delivery, error, self._clock())
            if error:
                host = urlsplit(webhook.url).hostname
                log.warning("webhook %s (%s) to %s: %s", delivery.id, delivery.event, host, error)

    # ---- the ends of jobs

    def _announce_end(self, outbox: Outbox, end: End, now: float) -> None:
        event = f"job.{end.state}"  # one that was cancelled is no event
        for webhook in self._webhooks:
            if event in webhook.events:
                id = message_id(event, end.job.job, end.ended_at, webhook.url)
                outbox.add(self._delivery(id, webhook, event, end.job.job, end.ended_at, self._facts(end), now))

    def _facts(self, end: End) -> dict[str, Any]:
        try:
            report = folder.read(end.job.out, end.job.job, "report", self._settings.s3_endpoint) or {}
        except SettingsError as error:  # the results are away: the counts are in the API later
            log.warning("a webhook has no counts: %s", error)
            report = {}
        counts = {"done": report.get("done"), "failed": report.get("failed")}
        return {
            "job": end.job.job,
            "state": end.state,
            "units": end.job.units,
            **counts,
            "skipped": end.job.skipped,
            "url": f"{api_url(self._settings)}/v1/jobs/{end.job.job}",
        }

    # ---- hits

    def _read_hits(self, outbox: Outbox, ends: Sequence[End], now: float) -> set[str]:
        """Read new results of jobs that have ended, or run. Returns the folders of which everything was read."""
        ended = {end.job.out for end in ends}
        due = now >= self._look_at
        if not self._of_hits or not (ended or due):
            return ended
        outs = ended
        if due:
            self._look_at = now + HITS_EVERY_S
            outs = ended | {job.out for job in self._jobs.of(*ACTIVE)}
        committed = {}
        for out in sorted(outs):
            if self._away.get(out, 0.0) <= now:
                with self._noting_away(out, now):
                    committed[out] = results_files.committed(out, self._settings.s3_endpoint)
        watched = self._watched()
        read = set()
        for out, files in committed.items():
            with self._noting_away(out, now):
                hits.collect(outbox, self._of_hits, files, watched, self._settings.s3_endpoint)
                read.add(out)
                self._away.pop(out, None)
        return read

    def _watched(self) -> set[str]:
        """The jobs whose rows are hits: those that are not over, or whose end is not announced yet.

        A file that was read is not read again, so each job with rows in files listed before has to be among them: also
        one that waits because its driver has died, and one that ends now. The ends are therefore read last.
        """
        not_over = self._jobs.of("waiting", *ACTIVE)
        return {job.job for job in (*not_over, *(end.job for end in self._jobs.ends()))}

    @contextmanager
    def _noting_away(self, out: str, now: float) -> Iterator[None]:
        """Note a folder that cannot be read: it is tried again after AGAIN_S."""
        try:
            yield
        except (SettingsError, OSError) as error:
            log.warning("hits in %s wait: %s", out, error)
            self._away[out] = now + AGAIN_S

    def _announce_hits(self, outbox: Outbox, webhook: Webhook, now: float) -> None:
        rule = hits.rule_of(webhook)
        for job, assets in outbox.new_hits(rule, HITS_A_DELIVERY).items():
            if now < outbox.last_made(webhook.url, "hit", job) + HITS_EVERY_S:
                continue
            wanted = webhook.hits.model_dump(exclude_defaults=True)
            address = f"{api_url(self._settings)}/v1/assets?{urlencode({'job': job, **wanted})}"
            facts = {"job": job, **webhook.hits.model_dump(), "assets": assets, "url": address}
            id = message_id("hit", rule, job, *assets)
            outbox.add(self._delivery(id, webhook, "hit", job, now, facts, now), assets, rule)

    def _delivery(
        self, id: str, webhook: Webhook, event: str, job: str, at: float, facts: dict[str, Any], now: float
    ) -> Delivery:
        body = json.dumps({"type": event, "timestamp": iso_time(at), "data": facts}, separators=(",", ":")).encode()
        return Delivery(id, webhook.url, event, job, body, now)


def api_url(settings: Settings) -> str:
    """The API's address for other machines: its first name, which nginx or an Ingress serves; else that of this one."""
    return f"https://{settings.api.names[0]}" if settings.api.names else settings.api.url
