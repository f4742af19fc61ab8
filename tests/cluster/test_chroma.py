"""A server that refuses, is not Chroma or does not answer raises VectorsDown with a sentence, in time."""

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cluster.chroma.client import Chroma, VectorsDown
from tests.cluster.metrics.recorded import recorded
from tests.support.servers.chroma import silent
from tests.support.servers.http import running


def server(status, body, kind):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *arguments):
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Answer)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, b'{"error": "AuthorizationError", "message": "no token"}', "application/json"),
        (404, b"<h1>not here</h1>", "text/html"),
        (200, b"<h1>another page</h1>", "text/html"),
        (500, b"broken", "text/plain"),
    ],
)
def test_a_server_that_refuses_or_is_not_chroma_is_reported(status, body, kind):
    with running(server(status, body, kind)) as other, pytest.raises(VectorsDown, match="is not Chroma, or refuses"):
        Chroma(f"http://127.0.0.1:{other.server_port}", 5.0).names()


def test_the_token_is_sent_and_one_that_is_refused_is_reported():
    with running(server(401, b"{}", "application/json")) as guard:
        seen = []
        guard.RequestHandlerClass.do_GET = lambda self: seen.append(self.headers["Authorization"])
        with pytest.raises(VectorsDown):
            Chroma(f"http://127.0.0.1:{guard.server_port}", 0.1, "s3cr3t").names()
    assert seen[0] == "Bearer s3cr3t"


def test_a_server_that_never_answers_times_out():
    import chromadb  # noqa: F401  # its first import takes longer than what is measured here

    with silent() as url:
        started = time.monotonic()
        with pytest.raises(VectorsDown, match="does not answer"):
            Chroma(url, 0.5).names()
        assert time.monotonic() - started < 3


def test_calls_are_measured_with_their_outcome():
    page = server(404, b"<h1>not here</h1>", "text/html")
    with recorded() as values, running(page) as other, pytest.raises(VectorsDown):
        Chroma(f"http://127.0.0.1:{other.server_port}", 5.0).names()
    assert [(name, labels) for name, _, labels in values] == [("raysift_chroma_request_seconds", {"outcome": "failed"})]
