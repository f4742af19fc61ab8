"""A stand-in API: answers the app's questions out of a few generated files. Its media are made when asked for.

To look at the app without a cluster: `python -m tests.support.fake_api 8000`, and start the app beside it.
"""

import hashlib
import io
import math
import re
import struct
import sys
import time
import wave
from typing import Any

from PIL import Image, ImageDraw
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

HOSTILE_NAME = '<img src=x onerror="window.hacked=1">[click](javascript:alert(1)).jpg'
HOSTILE_LINE = '<img src=x onerror="window.hacked=2"> **bold** [link](https://evil.example) :red[x] $y$'
MODELS = {"clip": "SigLIP", "face": "Dlib", "nsfw": "OpenNSFW", "ocr": "RapidOCR", "whisper": "whisper base"}
Record = dict[str, Any]
OVER = ("finished", "failed", "cancelled")
REPORT = {
    "files": 120,
    "frames": 300,
    "frames_carried": 90,
    "files_per_s": 6.0,
    "bytes_per_s": 1_500_000.0,
    "detectors": [
        {"detector": "nsfw", "units": 120, "reused": 30, "seconds": 12.5, "gpu_seconds": 3.0, "cost": 0.5},
        {"detector": "ocr", "units": 120, "reused": 0, "seconds": 1234.5, "gpu_seconds": 0.0, "cost": 1.25},
    ],
    "failures": [
        {"step": "decode", "reason": "it ends early at N", "units": 3, "example": f"s3://evidence/{HOSTILE_NAME}"}
    ],
    "cost": 1.75,
    "cost_per_1000_files": 14.58,
}


def asset_id(uri: str) -> str:
    return hashlib.sha256(uri.encode()).hexdigest()[:32]


def detection(detector: str, label: str, score: float, **more: Any) -> Record:
    empty = {"box": None, "time_s": None, "span": None, "text": None}
    return {"detector": detector, "model": MODELS[detector], "label": label, "score": score, **empty, **more}


def record(name: str, kind: str | None, detections: list[Record], **more: Any) -> Record:
    uri = f"s3://evidence/case 7/{name}"
    base = {
        "id": asset_id(uri),
        "uri": uri,
        "name": name,
        "kind": kind,
        "sha256": hashlib.sha256(name.encode()).hexdigest(),
        "size": 183_204,
        "width": None,
        "height": None,
        "duration_s": None,
        "analyzed_at": "2026-11-22T10:00:00Z",
        "has_thumbnail": kind in ("image", "video"),
        "detections": detections,
        "errors": [],
    }
    return {**base, **more}


def picture(place: int) -> Record:
    width, height = ((640, 480), (480, 640), (800, 450))[place % 3]
    found = [detection("clip", ("street", "beach", "indoor scene")[place % 3], 0.3 + place % 7 / 20)]
    if place % 2:
        found.append(detection("face", "face", 0.99 - place / 200, box=[0.2, 0.15, 0.48, 0.6]))
    if place % 3 == 0:
        found.append(detection("ocr", "text", 0.9, box=[0.1, 0.72, 0.9, 0.84], text=f"Exit {place} north"))
    if place % 5 == 0:
        found.append(detection("nsfw", "nsfw", 0.55 + place % 9 / 20))
    return record(f"IMG_{place:04}.jpg", "image", found, width=width, height=height)


def records() -> list[Record]:
    """70 pictures, a hostile one, three videos, four recordings and two broken files."""
    evil = picture(1) | {"name": HOSTILE_NAME, "uri": f"s3://evidence/{HOSTILE_NAME}"}
    evil["id"] = asset_id(evil["uri"])
    evil["detections"] = [detection("ocr", "text", 0.97, box=[0.1, 0.5, 0.9, 0.6], text=HOSTILE_LINE)]
    frames = [
        detection("face", "face", 0.9, box=[0.1 + t / 20, 0.3, 0.3 + t / 20, 0.7], time_s=float(t)) for t in range(8)
    ]
    words = ["we are live from the harbour", "the ship leaves at noon", HOSTILE_LINE]
    speech = [detection("whisper", "en", 0.93, span=[2.0 * n + 1, 2.0 * n + 2.5], text=t) for n, t in enumerate(words)]
    shown = [
        detection("ocr", "text", 0.88, box=[0.1, 0.8, 0.6, 0.9], time_s=t, text="BREAKING NEWS") for t in (5.0, 6.0)
    ]
    film = {"width": 320, "height": 240, "duration_s": 12.0}
    videos = [record(f"clip_{n}.mp4", "video", [*frames, *shown, *speech], **film) for n in range(3)]
    sounds = [record(f"call_{n}.wav", "audio", speech, duration_s=8.0) for n in range(4)]
    broken = [
        record(
            "truncated.jpg",
            "image",
            [],
            has_thumbnail=False,
            errors=[{"step": "decode", "reason": "the file ends early"}],
        ),
        record(
            "gone.mp4",
            "video",
            [],
            has_thumbnail=False,
            errors=[{"step": "fetch", "reason": "the bucket refused access"}],
        ),
    ]
    return [evil, *videos, *broken, *sounds, *(picture(place) for place in range(70))]


class FakeApi:
    """Answers as the API does; `app` is what serves it."""

    def __init__(self, files: list[Record] | None = None, searchable: bool = True) -> None:
        self.files = records() if files is None else files
        self.searchable = searchable
        self.jobs: list[Record] = []
        self.asked: list[str] = []
        one = "/v1/assets/{id}"
        self.app = Starlette(
            routes=[
                Route("/v1/health", lambda _: JSONResponse({"status": "ok"})),
                Route("/v1/detectors", self.detectors),
                Route("/v1/assets", self.assets),
                Route("/v1/facets", self.facets),
                Route(one, self.asset),
                Route(f"{one}/thumbnail", self.thumbnail),
                Route(f"{one}/media", self.media),
                Route("/v1/search", self.search, methods=["GET"]),
                Route("/v1/search", self.search_by_picture, methods=["POST"]),
                Route("/v1/analyze", self.analyze, methods=["POST"]),
                Route("/v1/jobs", self.job_list, methods=["GET"]),
                Route("/v1/jobs", self.submit, methods=["POST"]),
                Route("/v1/jobs/{job}", self.job, methods=["GET"]),
                Route("/v1/jobs/{job}/{change}", self.change, methods=["POST"]),
            ]
        )

    async def detectors(self, _: Request) -> Response:
        return JSONResponse([{"name": name, "model": model, "modalities": ["image"]} for name, model in MODELS.items()])

    async def assets(self, request: Request) -> Response:
        self.asked.append(str(request.url.query))
        found = self._found(request)
        page, size = int(request.query_params.get("page", 1)), int(request.query_params.get("size", 60))
        items = [_asset(file) for file in found[(page - 1) * size : page * size]]
        return JSONResponse({"total": len(found), "page": page, "size": size, "items": items})

    async def facets(self, request: Request) -> Response:
        found = self._found(request)
        kinds: dict[str, int] = {}
        labels: dict[tuple[str, str], int] = {}
        for file in found:
            if file["kind"]:
                kinds[file["kind"]] = kinds.get(file["kind"], 0) + 1
            for what in {(one["detector"], one["label"]) for one in file["detections"]}:
                labels[what] = labels.get(what, 0) + 1
        counts = [{"detector": d, "label": label, "count": n} for (d, label), n in labels.items()]
        failed = sum(1 for file in found if file["errors"])
        whose = [name for file in found for name in {one["detector"] for one in file["detections"]}]
        by = {name: whose.count(name) for name in sorted(set(whose))}
        answer = {"total": len(found), "kinds": kinds, "found_by": by, "detectors": counts, "failed": failed}
        return JSONResponse(answer)

    async def asset(self, request: Request) -> Response:
        file = self._file(request)
        return JSONResponse(_asset(file) | file) if file else _error(404, "There is no such file.")

    async def thumbnail(self, request: Request) -> Response:
        file = self._file(request)
        if file is None or not file["has_thumbnail"]:
            return _error(404, "There is no thumbnail.")
        return Response(draw_picture(file, 320), media_type="image/jpeg")

    async def media(self, request: Request) -> Response:
        file = self._file(request)
        if file is None or file["errors"]:
            return _error(404, "There is no such file.")
        if "html" in file["name"]:
            return Response(b"<script>1</script>", media_type="text/html")
        makers = {"image": lambda: draw_picture(file, 1600), "audio": make_sound, "video": make_video}
        kind = {"image": "image/jpeg", "audio": "audio/wav", "video": "video/mp4"}[file["kind"]]
        return _ranged(request, makers[file["kind"]](), kind)

    async def search(self, request: Request) -> Response:
        if not self.searchable:
            return _error(503, "The search index is being rebuilt. Browsing works meanwhile.")
        like, words = request.query_params.get("like"), request.query_params.get("q", "").lower()
        if like:
            return self._alike(request)
        hits = []
        for file in self.files:
            lines = [one for one in file["detections"] if words in (one["text"] or "").lower()]
            for one in lines[:1]:
                at = one["span"][0] if one["span"] else one["time_s"]
                hits.append(_hit(file, "speech" if one["span"] else "exact text", one["score"], one["text"], at))
            if not lines and any(words in one["label"] for one in file["detections"]):
                hits.append(_hit(file, "picture", 0.31))
        return JSONResponse({"hits": hits[: int(request.query_params["limit"])]})

    async def search_by_picture(self, request: Request) -> Response:
        upload = (await request.form())["file"]
        assert not isinstance(upload, str)
        if request.query_params["by"] == "faces" and "noface" in (upload.filename or ""):
            return _error(422, "there is no face in that picture")
        return self._alike(request)

    def _alike(self, request: Request) -> Response:
        if request.query_params.get("by") == "faces":
            seen = [file for file in self.files if any(one["detector"] == "face" for one in file["detections"])]
            hits = [_hit(file, "face", 0.8 - n / 100, time_s=_seen_s(file)) for n, file in enumerate(seen)]
        else:
            seen = [file for file in self.files if file["kind"] == "image"]
            hits = [_hit(file, "image", 0.9 - n / 50) for n, file in enumerate(seen)]
        return JSONResponse({"hits": hits[: int(request.query_params["limit"])]})

    async def analyze(self, request: Request) -> Response:
        upload = (await request.form())["file"]
        assert not isinstance(upload, str)
        content = await upload.read()
        if content.startswith(b"%PDF"):
            return _error(422, "decode: this is no image, video or audio that can be read.")
        found = picture(3)["detections"]
        size = Image.open(io.BytesIO(content)).size
        sha = hashlib.sha256(content).hexdigest()
        file = {"uri": upload.filename, "sha256": sha, "kind": "image", "width": size[0], "height": size[1]}
        return JSONResponse({**file, "duration_s": None, "detections": found, "errors": []})

    async def job_list(self, request: Request) -> Response:
        newest = self.jobs[::-1][: int(request.query_params["limit"])]
        return JSONResponse([_job(job) for job in newest])

    async def job(self, request: Request) -> Response:
        told = _job(self._job(request))
        return JSONResponse(told | {"summary": None, "report": REPORT if told["state"] in OVER else None})

    async def submit(self, request: Request) -> Response:
        asked = await request.json()
        if any("nowhere" in uri for uri in asked["uris"]):
            return _error(422, "s3://nowhere: there is no such bucket. Check its name.")
        return JSONResponse({"job": self.began(asked["uris"], asked["priority"])})

    async def change(self, request: Request) -> Response:
        job, change = self._job(request), request.path_params["change"]
        if change == "cancel" and ("stubborn" in job or _job(job)["state"] in OVER):
            return _error(422, f"{job['job']} is finished: there is nothing to cancel.")
        if change == "retry-failed":
            return JSONResponse({"job": self.began(job["uris"], job["priority"])})
        job["state"] = {"cancel": "cancelled", "resume": "waiting"}[change]
        return JSONResponse(_job(job))

    def began(self, uris: list[str], priority: str = "normal", **more: Any) -> str:
        name = f"job-{len(self.jobs) + 1:03}"
        self.jobs.append({"job": name, "uris": uris, "priority": priority, "began": time.time(), **more})
        return name

    def _job(self, request: Request) -> Record:
        return next(job for job in self.jobs if job["job"] == request.path_params["job"])

    def _file(self, request: Request) -> Record | None:
        return next((file for file in self.files if file["id"] == request.path_params["id"]), None)

    def _found(self, request: Request) -> list[Record]:
        asked = request.query_params
        kinds, least = asked.getlist("kind"), float(asked.get("min_score", 0))
        detectors, labels = asked.getlist("detector"), asked.getlist("label")

        def fits(file: Record) -> bool:
            hits = [
                one
                for one in file["detections"]
                if one["score"] >= least
                and (not detectors or one["detector"] in detectors)
                and (not labels or one["label"] in labels)
            ]
            return (
                (not kinds or file["kind"] in kinds)
                and (bool(hits) or not (detectors or labels or least))
                and (asked.get("failed") != "true" or bool(file["errors"]))
                and file["uri"].startswith(asked.get("under", ""))
            )

        found = [file for file in self.files if fits(file)]
        return sorted(found, key=lambda file: file["name"]) if asked.get("sort") == "name" else found


def _asset(file: Record) -> Record:
    best: dict[tuple[str, str], Record] = {}
    for one in file["detections"]:
        what = (one["detector"], one["label"])
        label = best.setdefault(what, {"detector": what[0], "label": what[1], "score": 0.0, "count": 0})
        label["score"], label["count"] = max(label["score"], one["score"]), label["count"] + 1
    boxes = [one for one in file["detections"] if one["box"] and file["kind"] == "image"]
    kept = ("id", "uri", "name", "kind", "width", "height", "duration_s", "analyzed_at", "has_thumbnail", "errors")
    return {name: file[name] for name in kept} | {
        "score": max((one["score"] for one in file["detections"]), default=None),
        "labels": list(best.values())[:8],
        "boxes": [{name: one[name] for name in ("detector", "label", "score", "box")} for one in boxes][:20],
    }


def _hit(file: Record, matched: str, score: float, text: str | None = None, time_s: float | None = None) -> Record:
    return {"asset": _asset(file), "score": score, "matched": matched, "text": text, "time_s": time_s}


def _seen_s(file: Record) -> float | None:
    return next(one["time_s"] for one in file["detections"] if one["detector"] == "face")


def _job(job: Record) -> Record:
    seconds = time.time() - job["began"]
    done = min(120, int(seconds * 6))
    state = job.get("state") or ("waiting" if seconds < 0.5 else "running" if done < 120 else "finished")
    progress = {"units": 120, "done": done, "failed": done // 30, "skipped": 8, "seconds": min(20.0, seconds)}
    named = {name: job[name] for name in ("job", "uris", "priority")} | {"state": state, "out": None}
    return {**named, **progress, "message": job.get("message"), "submitted_at": "2026-11-22T10:00:00Z"}


def _error(status: int, sentence: str) -> Response:
    return JSONResponse({"detail": sentence}, status)


def _ranged(request: Request, content: bytes, kind: str) -> Response:
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if not asked:
        return Response(content, media_type=kind, headers={"Accept-Ranges": "bytes"})
    first, last = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
    if first > last:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{len(content)}"})
    where = {"Content-Range": f"bytes {first}-{last}/{len(content)}", "Accept-Ranges": "bytes"}
    return Response(content[first : last + 1], 206, where, kind)


def draw_picture(file: Record, longest: int) -> bytes:
    """A pattern of its own for each file."""
    seed = int(file["id"][:8], 16)
    width, height = file["width"] or 640, file["height"] or 480
    image = Image.linear_gradient("L").resize((width, height)).rotate(seed % 4 * 90)
    colors = [f"hsl({(seed + turn) % 360}, 45%, {light}%)" for turn, light in ((0, 25), (40, 75))]
    paper = Image.composite(Image.new("RGB", image.size, colors[1]), Image.new("RGB", image.size, colors[0]), image)
    pen = ImageDraw.Draw(paper)
    pen.ellipse((width * 0.22, height * 0.17, width * 0.46, height * 0.58), fill=f"hsl({(seed + 180) % 360}, 50%, 60%)")
    pen.rectangle((width * 0.1, height * 0.72, width * 0.9, height * 0.84), fill="white")
    pen.text((width * 0.12, height * 0.75), file["name"][:30], fill="black")
    paper.thumbnail((longest, longest))
    saved = io.BytesIO()
    paper.save(saved, "JPEG", quality=80)
    return saved.getvalue()


def make_sound() -> bytes:
    """Eight seconds of a quiet tone."""
    saved = io.BytesIO()
    with wave.open(saved, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"".join(struct.pack("<h", int(2000 * math.sin(n / 5))) for n in range(64_000)))
    return saved.getvalue()


def make_video() -> bytes:
    """Twelve seconds of a square that moves."""
    import av

    saved = io.BytesIO()
    with av.open(saved, "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for n in range(120):
            image = Image.new("RGB", (320, 240), "#27434d")
            ImageDraw.Draw(image).rectangle((32 + n * 1.6, 72, 96 + n * 1.6, 168), fill="#e0b040")
            film.mux(stream.encode(av.VideoFrame.from_image(image)))
        film.mux(stream.encode())
    return saved.getvalue()


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(FakeApi().app, port=int(sys.argv[1]), log_level="warning")
