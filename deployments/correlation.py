"""The id that joins the log lines of one request or job: Serve's request id, which calls of deployments pass on.

Serve takes it from the header X-Request-ID of a request, or makes one, and answers with it. A job's is its name. Where
spans are recorded, the current one goes along.
"""

from ray.serve import context

from cluster.traces import spans

HEADER, TRACE_HEADER = "X-Request-ID", "traceparent"


def set_id(id: str) -> None:
    """Give this id to all calls of deployments that this thread or task makes from now on."""
    context._set_request_context(request_id=id)  # Serve has no public function for it


def id() -> str:
    """The id of the current request or job; empty if it has none."""
    return str(context._get_serve_request_context().request_id)


def headers() -> dict[str, str]:
    """The headers with the id of the current request or job and its span, for another cluster; empty without them."""
    own, parent = id(), spans.carried()
    sent = {HEADER: own} if own and own.isascii() and own.isprintable() else {}
    return sent if parent is None else {**sent, TRACE_HEADER: parent}


def parent() -> dict[str, str]:
    """The argument `parent` of a call of a deployment whose method records spans; empty outside of spans."""
    current = spans.carried()
    return {} if current is None else {"parent": current}
