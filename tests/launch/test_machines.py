"""The machines of the launch tests: name resolution, restart, and that no process survives `kill`."""

import httpx
import pytest

from tests.launch.machines import Network

pytestmark = pytest.mark.launch


def test_machines_resolve_each_others_names_and_kill_ends_every_process(network: Network):
    one, other = network.machine("one"), network.machine("other")
    one.spawn(["python3", "-m", "http.server", "80", "--bind", one.address])
    fetch = [
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "--retry",
        "50",
        "--retry-connrefused",
        "http://one/",
    ]
    assert other.run([*fetch, "--retry-delay", "1"]).stdout == "200"
    assert httpx.get("http://one/", trust_env=False).status_code == 200
    assert other.run(["hostname"]).stdout == "other\n"
    (server,) = one.processes("http.server")
    one.kill()
    assert not server.is_running()
    one.start()
    assert one.processes("http.server") == []
