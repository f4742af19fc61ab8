"""Shared by tests of `raysift doctor`: an isolated machine, stand-ins for servers, and readers of checks."""

import httpx

GONE = httpx.ConnectError("refused")


def isolate(tmp_path, monkeypatch):
    """Hide this machine's settings, cards, copies of weights and Raysift."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("RAYSIFT_MODELS__CACHE", str(tmp_path / "models"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for port in ("RAY__DASHBOARD_PORT", "API__PORT", "CHROMA__PORT", "APP__PORT"):
        monkeypatch.setenv(f"RAYSIFT_{port}", "9")  # nothing listens there


def state(checks, what):
    (found,) = (check for check in checks if check.what == what)
    return found.state


def words(checks, state):
    return " ".join(f"{check.what}: {check.said}" for check in checks if check.state == state)


def client(answers):
    """A client of a server with these answers, by path or method and path: exceptions are raised, functions called."""

    def handle(request):
        answer = answers.get(f"{request.method} {request.url.path}", answers.get(request.url.path, (404, "?")))
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return httpx.Response(status, **({"text": body} if isinstance(body, str) else {"json": body}))

    return httpx.Client(transport=httpx.MockTransport(handle))
