"""What tests of `raysift doctor` share: a machine by itself, stand-ins for servers, and readers of checks."""

import httpx

GONE = httpx.ConnectError("refused")


def isolate(tmp_path, monkeypatch):
    """A machine without settings, cards, copies of weights or a Raysift, whatever this one has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("RAYSIFT_MODELS__CACHE", str(tmp_path / "models"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for port in ("RAY__DASHBOARD_PORT", "API__PORT", "CHROMA__PORT", "APP__PORT"):
        monkeypatch.setenv(f"RAYSIFT_{port}", "9")  # nobody listens there


def state(checks, what):
    (found,) = (check for check in checks if check.what == what)
    return found.state


def words(checks, state):
    return " ".join(f"{check.what}: {check.said}" for check in checks if check.state == state)


def client(answers):
    """A server: answers by path, or by method and path. An exception is raised, a function asked."""

    def handle(request):
        answer = answers.get(f"{request.method} {request.url.path}", answers.get(request.url.path, (404, "?")))
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return httpx.Response(status, **({"text": body} if isinstance(body, str) else {"json": body}))

    return httpx.Client(transport=httpx.MockTransport(handle))
