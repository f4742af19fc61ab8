"""A queue of jobs with webhooks, as the head has it, whose clock a test sets."""

from pathlib import Path
from typing import Any

from ray.job_submission import JobStatus

from cluster.settings import ApiListener, Settings
from cluster.webhooks.endpoint import Webhook
from deployments.jobs import folder
from deployments.jobs.queue import Jobs
from deployments.jobs.webhooks.announcing import Announcer
from tests.deployments.jobs.jobs_api import JobsApi, submit
from tests.deployments.jobs.webhooks.receiver import Receiver
from tests.support.stored import commit, found, row


class Head:
    """A queue of jobs with webhooks to a receiver, whose clock the test sets; `restart` is another process."""

    def __init__(self, state: Path, *webhooks: Webhook, api: ApiListener | None = None) -> None:
        self.found = state / "found"
        self.settings = Settings(
            state_dir=state, results_uri=self.found.as_uri(), webhooks=webhooks, api=api or ApiListener()
        )
        self.ray, self.now = JobsApi(), 1_800_000_000.0
        self._start()

    def _start(self) -> None:
        ray = self.ray
        self.jobs = Jobs(self.settings.state_dir / "jobs.sqlite", self.settings, lambda _: ray, lambda: ray.nodes, None)
        self.announcer = Announcer(self.jobs.store, self.settings, lambda: self.now)

    def restart(self) -> None:
        self.jobs.store.close()
        if self.announcer.outbox:
            self.announcer.outbox.close()
        self._start()

    def run(self, *rows: dict[str, Any], exit_code: int = 0) -> str:
        """A job that stores these rows and ends with that exit code."""
        job = self.begin(*rows)
        self.end(job, exit_code)
        return job

    def begin(self, *rows: dict[str, Any]) -> str:
        job = submit(self.jobs)
        self.jobs.tick()
        self.store(job, *rows)
        return job

    def store(self, job: str, *rows: dict[str, Any], file: str = "a") -> None:
        if rows:
            commit(self.found, f"{job}-{file}.parquet", *({**row, "job": job} for row in rows))

    def end(self, job: str, exit_code: int = 0) -> None:
        report = {"done": 7, "failed": 2}
        folder.write(self.settings.results, job, "report", report)
        self.jobs.note(job, units=7, skipped=3)
        attempt = self.jobs.one(job).attempts[-1]
        self.jobs.over(job, attempt, exit_code, "secret.jpg is broken")
        self.ray.ends(attempt, JobStatus.SUCCEEDED)

    def work(self, after_s: float = 0.0) -> None:
        """What the threads do, once, after so many seconds."""
        self.now += after_s
        self.announcer.collect()
        for webhook in self.settings.webhooks:
            self.announcer.deliver(webhook)


def hook(receiver: Receiver, *events: str, **hits: Any) -> Webhook:
    return Webhook(
        url=receiver.url, secret_env="HOOK_SECRET", events=events or ("job.finished", "job.failed"), hits=hits
    )


def nude(n: int, score: float = 0.9) -> dict[str, Any]:
    return row(f"s3://b/{n:04}.jpg", found("nsfw", "nude", score), found("ocr", "text", 1.0, text="hello"), unit=n)
