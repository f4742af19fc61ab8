"""The fake API's routes for what a file shows: its thumbnail, the original, copies, what it says about itself."""

import re
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request, Response

from cluster.api_types import File, Properties
from tests.support.fakes.files import HOSTILE_LINE
from tests.support.fakes.media import draw_picture, make_part, make_sound, make_video

Seconds = Annotated[float, Query(ge=0, le=1e6, allow_inf_nan=False)]


class FakeOriginals:
    """The routes, over the list of files of the fake API."""

    def __init__(self, files: list[File]) -> None:
        """`files`: those that were scanned; it may grow."""
        self._files = files

    def add_routes(self, app: FastAPI) -> None:
        """Add the routes to an application."""
        for answer in (self.thumbnail, self.media, self.playable, self.frame, self.properties):
            app.add_api_route(f"/v1/assets/{{asset}}/{answer.__name__}", answer, methods=["GET"])

    def file(self, asset: str) -> File:
        """The file with this id. HTTPException 404 if there is none."""
        known = next((file for file in self._files if file.id == asset), None)
        if known is None:
            raise HTTPException(404, "There is no such file.")
        return known

    def thumbnail(self, asset: str) -> Response:
        """A JPEG of at most 320 x 320 pixels."""
        known = self.file(asset)
        if not known.has_thumbnail:
            raise HTTPException(404, "There is no thumbnail.")
        return Response(_drawn(known, 320), media_type="image/jpeg")

    def media(self, asset: str, request: Request) -> Response:
        """The file, or the byte range of a Range header. A file with `html` in its name is sent as HTML."""
        known = self.file(asset)
        if known.errors or known.kind is None:
            raise HTTPException(404, "There is no such file.")
        if "html" in known.name:
            return Response(b"<script>1</script>", media_type="text/html")
        if known.kind == "image":
            return _ranged(request, _drawn(known, 1600), "image/jpeg")
        if known.kind == "audio":
            return _ranged(request, make_sound(), "audio/wav")
        return _ranged(request, make_video(), "video/mp4")

    def playable(self, asset: str, from_s: Seconds = 0.0) -> Response:
        """A part of the copy, made as the API makes it; 422 for a file with `broken` in its name."""
        known = self.file(asset)
        if known.kind == "image":
            return Response(_drawn(known, 1600), media_type="image/jpeg")
        if "broken" in known.name:
            raise HTTPException(422, "there is no decoder for its codec")
        media_type, part = make_part(known.kind == "audio", from_s)
        if not part:
            raise HTTPException(416, "It ends before.")
        return Response(part, media_type=media_type)

    def frame(self, asset: str, at_s: Seconds = 0.0) -> Response:
        """The picture of the thumbnail, larger, whatever the second."""
        known = self.file(asset)
        if known.kind != "video":
            raise HTTPException(422, "It is no video.")
        return Response(_drawn(known, 1600), media_type="image/jpeg")

    def properties(self, asset: str) -> Properties:
        """What a camera would say."""
        known = self.file(asset)
        if known.kind is None:
            raise HTTPException(404, "It has no media.")
        camera = {"captured_at": "2021-03-04 10:11:12 +02:00", "camera": "Canon EOS 5D", "position": (48.2082, 16.3738)}
        others = {"kind": known.kind, "ImageDescription": HOSTILE_LINE}
        return Properties(**camera, altitude_m=171.0, others=others)


def _drawn(file: File, longest: int) -> bytes:
    return draw_picture(file.id, file.width or 640, file.height or 480, file.name, longest)


def _ranged(request: Request, content: bytes, media_type: str) -> Response:
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if not wanted:
        return Response(content, media_type=media_type, headers={"Accept-Ranges": "bytes"})
    first, last = int(wanted[1]), min(int(wanted[2] or len(content) - 1), len(content) - 1)
    if first > last:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{len(content)}"})
    headers = {"Content-Range": f"bytes {first}-{last}/{len(content)}", "Accept-Ranges": "bytes"}
    return Response(content[first : last + 1], 206, headers, media_type)
