"""The stamp of compiled kernels follows every source that goes into them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from transforms.kernels import compiled

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(compiled, "__file__", str(tmp_path / "compiled.py"))
    (tmp_path / "one.py").write_text("from transforms.kernels.two import (\n    f,\n)\n")
    (tmp_path / "two.py").write_text("from transforms.kernels.one import g\n")
    (tmp_path / "other.py").write_text("")
    return tmp_path


def stamp(module: str) -> tuple[str, int]:
    compiled._stamp.cache_clear()
    return compiled._stamp(module)


def test_an_edit_of_an_imported_kernel_is_seen(sources: Path) -> None:
    before = stamp("one")
    (sources / "other.py").write_text("edited")
    assert stamp("one") == before
    (sources / "two.py").write_text("edited")
    assert stamp("one") != before


def test_kernels_call_no_kernel_that_the_stamp_would_miss() -> None:
    folder = Path(compiled.__file__).parent
    for path in folder.glob("*.py"):
        assert "from transforms.kernels import" not in path.read_text(encoding="utf-8"), path.name


def test_kernels_are_cached_once_they_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_stamp", lambda module: (module, 0))
    monkeypatch.setattr(compiled, "_ENTRY_POINTS", [])

    @compiled.entry_point
    def plus_one(number):
        return number + 1

    plus_one._cache.flush()
    assert not compiled.kernels_cached()
    assert plus_one(1) == 2
    assert compiled.kernels_cached()
    assert plus_one._cache._cache_file._load_index()


def test_what_a_run_makes_ready_is_all_that_is_asked_about() -> None:
    code = "import pipeline.ready; from transforms.kernels.compiled import kernels_cached; print(kernels_cached())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
