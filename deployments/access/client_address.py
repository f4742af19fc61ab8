"""From where a request comes."""

from starlette.requests import HTTPConnection


def address(request: HTTPConnection) -> str:
    """From where a request comes, for the audit log. The app says for which browser it asks."""
    came = request.client.host if request.client else ""
    claimed = request.headers.get("x-forwarded-for", "").split(",")[0].strip()
    return f"{came}, for {claimed}" if claimed and claimed != came else came
