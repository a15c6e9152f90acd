"""A Prism server for a test: Beam's portable runner in Go, a process of its own.

    with prism_server() as flags:
        curate(recipe, Launcher("portable", 1, flags))

Prism executes the graph and owns the shuffle; the Python code runs in this process (LOOPBACK), which it reaches over
gRPC. `prism_server` skips the test, with the reason, where Prism cannot be built.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FETCH = Path(__file__).parents[2] / "scripts" / "fetch_prism.py"
UNAVAILABLE = 3
START_TIMEOUT_S = 60


def prism_binary() -> Path:
    """The Prism binary of the installed Beam release, built now if need be; skips the test where it cannot be had."""
    fetched = subprocess.run([sys.executable, str(FETCH)], capture_output=True, text=True, check=False)
    if fetched.returncode == UNAVAILABLE:
        pytest.skip(fetched.stderr.strip())
    assert fetched.returncode == 0, fetched.stderr
    return Path(fetched.stdout.strip())


@contextmanager
def prism_server() -> Iterator[list[str]]:
    """Runs Prism on a port of its choice; yields the flags for Beam's PortableRunner, and kills it at the end."""
    command = [str(prism_binary()), "--job_port", "0", "--serve_http=false", "--log_kind=json", "--log_level=info"]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    endpoints: queue.Queue[str | None] = queue.Queue()
    said: list[str] = []
    reader = threading.Thread(target=_read_log, args=(server, endpoints, said), daemon=True)
    reader.start()
    try:
        endpoint = endpoints.get(timeout=START_TIMEOUT_S)
        assert endpoint is not None, f"Prism ended at once, saying: {''.join(said)}"
        yield [f"--job_endpoint={endpoint}", "--environment_type=LOOPBACK"]
    finally:
        server.kill()
        server.wait()
        reader.join(timeout=10)
        assert server.stderr is not None
        server.stderr.close()


def _read_log(server: subprocess.Popen[str], endpoints: queue.Queue[str | None], said: list[str]) -> None:
    """Drains the log for as long as Prism runs (a full pipe would stop it), and picks the endpoint out of it."""
    assert server.stderr is not None
    for line in server.stderr:
        said.append(line)
        if '"Serving JobManagement"' in line:
            endpoints.put(json.loads(line)["endpoint"])
    endpoints.put(None)
