"""The id that joins the log lines of one request or job: Serve's request id, which calls of deployments pass on.

Serve takes it from the header X-Request-ID of a request, or makes one, and answers with it. A job's is its name.
"""

from ray.serve import context

HEADER = "X-Request-ID"


def set_id(id: str) -> None:
    """Give this id to all calls of deployments that this thread or task makes from now on."""
    context._set_request_context(request_id=id)  # Serve has no public function for it


def headers() -> dict[str, str]:
    """The header with the id of the current request or job, for another cluster; empty if it has none."""
    id = context._get_serve_request_context().request_id
    return {HEADER: id} if id and id.isascii() and id.isprintable() else {}
