"""A film that is cut into segments, through a real cluster: its results read as if it had not been cut."""

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw, ImageFont

from commands.demo import SPEECH
from tests.support.cluster import Cluster

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

RATE = 5  # pictures a second
CARDS = ("FIRST REEL", "SECOND REEL", "THIRD REEL", "LAST REEL")
CARD_S = 25
SPOKEN_S = (8.0, 58.0)  # the second time across the border at a minute


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 seconds: four cards; the recording is heard twice in silence."""
    path = tmp_path_factory.mktemp("film") / "film.mov"
    with av.open(str(SPEECH)) as source:
        resampler = av.AudioResampler("fltp", "mono", 48_000)
        spoken = np.concatenate([one.to_ndarray() for f in source.decode(audio=0) for one in resampler.resample(f)], 1)
    heard = np.zeros((1, len(CARDS) * CARD_S * 48_000), np.float32)
    for begin_s in SPOKEN_S:
        heard[:, int(begin_s * 48_000) : int(begin_s * 48_000) + spoken.shape[1]] = spoken
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=RATE, options={"crf": "30", "preset": "ultrafast", "g": "10"})
        video.width, video.height, video.pix_fmt = 640, 360, "yuv420p"
        audio = out.add_stream("pcm_s16le", rate=48_000, layout="mono")  # uncompressed: small videos are not probed
        for title in CARDS:
            card = Image.new("RGB", (640, 360), "navy")
            ImageDraw.Draw(card).text((60, 130), title, "white", ImageFont.load_default(64))
            frame = av.VideoFrame.from_ndarray(np.asarray(card), format="rgb24")
            for _ in range(CARD_S * RATE):
                frame.pts = None
                out.mux(video.encode(frame))
        out.mux(video.encode())
        sound = av.AudioFrame.from_ndarray((heard * 32767).astype(np.int16), format="s16", layout="mono")
        sound.sample_rate = 48_000
        out.mux(audio.encode(sound))
        out.mux(audio.encode())
    return path


@pytest.fixture(scope="module")
def told(cluster: Cluster, film: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """The results folder and the last line of a scan."""
    out = str(tmp_path_factory.mktemp("film-results"))
    done = cluster.raysift("scan", str(film), "--out", out, "--detectors", "ocr,whisper,clip", "--json")
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout.splitlines()[-1])


def test_the_film_is_two_units_and_one_file(cluster, told):
    out, job = told
    assert (job["units"], job["done"]) == (2, 2)
    rows = pq.read_table(out, partitioning=None).sort_by("segment")
    assert rows["segments"].to_pylist() == [2, 2]
    assert rows["begin_s"].to_pylist() == [0.0, 60.0] and rows["end_s"].to_pylist() == [60.0, None]
    with cluster.api() as api:
        (item,) = api.get("/v1/assets", params={"under": "file:///", "label": "text", "detector": "ocr"}).json()[
            "items"
        ][:1]
        summary = api.get(f"/v1/jobs/{job['job']}").json()["summary"]
    assert item["segments"] == {"done": 2, "of": 2}
    assert {line["detector"]: line["files"] for line in summary["detectors"]}["ocr"] == 1


def test_every_second_is_analysed_once(cluster, told):
    line = cluster.export(told[0])["film.mov"]
    assert line["duration_s"] == pytest.approx(len(CARDS) * CARD_S, abs=0.5)
    read = [found for found in line["detections"] if found["detector"] == "ocr"]
    for n, title in enumerate(CARDS):
        times = [found["time_s"] for found in read if found["text"] == title]
        assert times == [float(second) for second in range(n * CARD_S, (n + 1) * CARD_S)]


def test_a_sentence_across_the_border_is_transcribed_once_and_completely(cluster, told):
    line = cluster.export(told[0])["film.mov"]
    said = [found for found in line["detections"] if found["detector"] == "whisper"]
    assert len([found for found in said if "handcuffs" in found["text"]]) == len(SPOKEN_S)
    for begin_s in SPOKEN_S:
        assert any(begin_s - 1 <= found["span"][0] <= begin_s + 2 for found in said)


def test_the_same_film_under_another_name_is_answered_from_the_cache(cluster, film, told, tmp_path):
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "copy.mov").write_bytes(film.read_bytes())
    out = str(tmp_path / "out")
    done = cluster.raysift("scan", str(tmp_path / "media"), "--out", out, "--detectors", "ocr,whisper,clip", "--json")
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(out, partitioning=None).to_pylist()
    assert {(usage["detector"], usage["reused"]) for row in rows for usage in row["usage"]} == {
        ("ocr", True),
        ("whisper", True),
        ("clip", True),
    }
    first, again = cluster.export(told[0])["film.mov"], cluster.export(out)["copy.mov"]
    assert {**again, "uri": ""} == {**first, "uri": ""}
