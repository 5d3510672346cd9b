"""The administrator's endpoints are this machine's own, whatever address the emulator listens on."""

import asyncio
from pathlib import Path

import pytest

from seedtool.emulator import objects
from seedtool.emulator.application import application
from seedtool.emulator.faults import Faults
from seedtool.emulator.operations import Operations
from seedtool.emulator.store import Store


def ask(app, method, path, client):
    """Ask the application as a client with this address, and return the status of its answer."""
    answers = []

    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message):
        answers.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "client": client,
        "server": ("10.0.0.1", 80),
        "state": {},
    }
    asyncio.run(app(scope, receive, send))
    return answers[0]["status"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "status"), ("POST", "reset-counters"), ("GET", "faults"), ("POST", "faults")],
)
def test_only_this_machine_may_ask(tmp_path, method, path):
    store = Store(tmp_path / "faces.sqlite3")
    app = application(Operations(store, objects.reader(None, None)), Faults(), Path(tmp_path))
    assert ask(app, method, f"/_seedtool/{path}", ("192.168.0.9", 5000)) == 403
    assert ask(app, method, f"/_seedtool/{path}", None) == 403
    assert ask(app, method, f"/_seedtool/{path}", ("127.0.0.1", 5000)) == 200
    assert ask(app, method, f"/_seedtool/{path}", ("::1", 5000)) == 200
    store.close()
