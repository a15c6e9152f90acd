"""What importing costs: a worker loads every transform, and must not thereby load frameworks it has no use for."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "apache_beam")

PROBE = """
import sys
{code}
print(*sorted(name for name in {heavy!r} if name in sys.modules))
"""


def heavy_after(code):
    """Which heavy frameworks a fresh interpreter has loaded after running `code`."""
    program = PROBE.format(code=code, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_every_transform_loads_without_torch_or_beam():
    assert heavy_after("from transforms.registry import load_all, catalog; load_all(); assert catalog()") == []


def test_schemas_load_without_torch_or_beam():
    assert heavy_after("import schemas.ledger, schemas.manifest, schemas.recipe, schemas.sample, schemas.shard") == []


@pytest.mark.parametrize("command", ["schemas.errors", "jobs.preflight"])
def test_what_runs_before_any_command_is_light(command):
    assert heavy_after(f"import {command}") == []


def test_the_probe_sees_a_heavy_import():
    assert heavy_after("import apache_beam") == ["apache_beam"]


def test_what_a_pools_workers_are_sent_loads_without_beam():
    code = """
import pickle, subprocess, sys
made = "from pipeline.graph import Launcher; from pipeline.dedup.verify import VerifyPairs;"
made += "from pipeline.stage import run_stage; from pipeline.pack import run_pack; from pipeline.worker import Each;"
made += "from pipeline.dedup.resolve import ResolveAtOnce;"
made += "import pickle, sys; sent = [Each(run_stage), Each(run_pack), VerifyPairs(None), ResolveAtOnce(None)];"
made += "sys.stdout.buffer.write(pickle.dumps(sent))"
pickle.loads(subprocess.run([sys.executable, "-c", made], capture_output=True, check=True).stdout)
"""
    assert heavy_after(code) == []
