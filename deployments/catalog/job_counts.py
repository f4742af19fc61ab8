"""What jobs have done, as far as their results are loaded."""

from deployments.catalog import queries as sql
from deployments.catalog.database import Database
from deployments.catalog.shapes import Json, as_summary


class JobCounts:
    """The methods; the catalogue that inherits them has the database."""

    _database: Database

    def job(self, job: str) -> Json:
        """Counts of a job's loaded units: {"done": all of them, "failed": those with errors}."""
        (counted,) = self._database.rows(sql.JOB, [job])
        return {"done": counted["done"], "failed": counted["failed"]}

    def jobs(self) -> dict[str, Json]:
        """Counts, as in `job`, of every job that has loaded units, by the job's name."""
        return {row.pop("job"): row for row in self._database.rows(sql.JOBS)}

    def job_so_far(self, job: str) -> list[Json]:
        """What each detector has done in a job: {"detector", "units": answered, "files": in which it found something,
        "detections"}.
        """
        return self._database.rows(sql.SO_FAR, [job, job])

    def summary(self, job: str) -> Json:
        """What a job found: {"files", "failed": [{"uri", "step", "reason"}], "detectors": [{"detector", "files",
        "detections", "top_labels": [{"label", "files"}], "example"}]}. Files of a detector: those in which there was
        something; example: a text that was read or heard."""
        with self._database.snapshot() as ask:
            examples = {row["detector"]: row["text"] for row in ask(sql.EXAMPLES, [job])}
            files = ask(sql.JOB, [job])[0]["files"]
            return as_summary(files, ask(sql.FAILED, [job]), ask(sql.TALLIES, [job]), examples)
