"""Ctrl-C on a terminal: the run leaves at once, says how to go on, restores the terminal, and can be resumed."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time

import psutil
import yaml

from tests.e2e.corpus import recipe_dict, write_corpus

PATIENCE_S = 240


def read_until(terminal: int, wanted: bytes, said: bytearray) -> bool:
    """Reads the terminal until it shows `wanted`; False when the program ends or patience does."""
    ends = time.monotonic() + PATIENCE_S
    while wanted not in said and time.monotonic() < ends:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                read = os.read(terminal, 65536)
            except OSError:
                break
            if not read:
                break
            said += read
    return wanted in said


def test_ctrl_c_leaves_a_resumable_state(tmp_path):
    write_corpus(tmp_path / "corpus", documents=600)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe_dict(tmp_path / "corpus", tmp_path / "out")))
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [sys.executable, "-m", "jobs.cli", "curate", str(path), "--workers", "2"])
    said = bytearray()
    assert read_until(terminal, b"stage 1", said), said.decode()
    time.sleep(1)
    workers = psutil.Process(child).children(recursive=True)
    os.write(terminal, b"\x03")
    assert read_until(terminal, b"run the same command again to go on", said), said.decode()
    assert b"\x1b[?25h" in said  # the cursor is shown again
    assert b"Traceback" not in said
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
    os.close(terminal)
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    assert (tmp_path / "out" / ".work").is_dir() and not (tmp_path / "out" / "manifest.json").exists()


def test_a_killed_run_leaves_no_worker_behind(tmp_path):
    write_corpus(tmp_path / "corpus", documents=600)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe_dict(tmp_path / "corpus", tmp_path / "out")))
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "jobs.cli", "curate", str(path), "--workers", "2"])
    said = bytearray()
    assert read_until(terminal, b"stage 1", said), said.decode()
    started: list[psutil.Process] = []
    ends = time.monotonic() + PATIENCE_S
    while len(started) < 3 and time.monotonic() < ends:  # the fork server and its two workers
        started = psutil.Process(child).children(recursive=True)
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(terminal)
    _, alive = psutil.wait_procs(started, timeout=30)
    assert not alive
