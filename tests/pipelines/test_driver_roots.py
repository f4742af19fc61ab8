"""What a job's driver may read, what its listing leaves out, and which full disk its message names."""

import errno

import pytest
from ray.exceptions import RayTaskError

from cluster.errors import DiskFull
from cluster.permissions import prove
from cluster.settings import Scanning, Settings
from cluster.storage.roots import OutsideRoots
from pipelines.ending import report_end
from tests.pipelines.test_driver import Place
from tests.support.listed import put


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A place whose settings allow nothing, and whose operator has a token."""
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    put(tmp_path / "ray_token", b"the operator's")
    place = Place(tmp_path)
    place.settings = Settings(state_dir=tmp_path, scanning=Scanning())
    return place


def owed(place):
    return sorted(row["uri"].rpartition("/")[2] for row in place.rows())


def test_a_driver_reads_only_what_the_settings_or_the_operator_allow(place):
    for job, proof in {"a": "", "b": "0" * 64, "c": prove(place.settings, ["/other"], place.out)}.items():
        with pytest.raises(OutsideRoots, match=r"scanning\.roots"):
            place.drive(job, proof=proof)
    assert not place.rows()


def test_the_operators_proof_lets_a_driver_read_its_uris(place):
    proof = prove(place.settings, [str(place.media)], place.out)
    assert place.drive(uris=(place.media.as_uri(),), proof=proof).done == 6


def test_a_driver_of_the_queue_uses_the_proof_of_its_job_and_not_its_own(place):
    proof = prove(place.settings, [str(place.media)], place.out)
    uris = [place.media.as_uri()]
    granted, bare = (place.jobs.submit(uris, place.out, [], proof=given) for given in (proof, ""))
    place.jobs.tick()
    assert place.jobs.begin(granted, granted, uris, place.out, []) == proof
    assert place.jobs.begin(bare, bare, uris, place.out, [], proof) == ""
    by_hand = place.jobs.begin("mine", "mine", uris, place.out, [], proof)
    assert by_hand == proof and place.jobs.one("mine").proof == proof
    place.jobs.cancel(granted)
    assert place.jobs.one(place.jobs.retry(granted)).proof == proof


def test_files_left_out_of_the_listing_are_in_the_jobs_message(place, tmp_path):
    secret = put(tmp_path / "secret.txt")
    (place.media / "x.jpg").symlink_to(secret)
    proof = prove(place.settings, [str(place.media)], place.out)
    assert place.drive(uris=(place.media.as_uri(),), proof=proof).done == 6
    assert "x.jpg" not in owed(place)
    message = place.jobs.one("scan-1").message
    assert "1 files or folders were left out: 1 .jpg: it is a link that leads outside" in message
    assert "media/x.jpg" in message


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            DiskFull("no space is left in /tmp/raysift-media-1 on the machine worker-3: free some there"),
            "on the machine",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "no space is left in file:///"),
    ],
)
def test_the_message_names_the_disk_that_is_full(place, error, says):
    class Told:
        out, job, attempt, said = place.out, "scan-1", "scan-1", ""

        def tell(self, what, attempt, code, message):
            self.said = message

    driver = Told()
    text = f"ray::Analyze() (pid=7)\n  File x\n{type(error).__module__}.{type(error).__name__}: {error}\n"
    with pytest.raises(RayTaskError), report_end(driver):
        raise RayTaskError("Analyze", text, error)
    assert says in driver.said and "`raysift jobs resume scan-1` goes on" in driver.said
    assert (place.out in driver.said) == (not isinstance(error, DiskFull))
