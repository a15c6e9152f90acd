"""What Beam's `--setup_file` ships to workers: built by Beam's own stager, installed into a clean environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest
from apache_beam.runners.portability.stager import Stager

from jobs.preflight import TOP_LEVEL
from transforms.registry import catalog

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ELSEWHERE = ("tests", "recipes", "benchmarks", "scripts", "docs")
METADATA = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in")


def shipped(folder: Path) -> set[str]:
    """Every file of our packages below `folder`, data included, as relative paths."""
    return {
        path.relative_to(folder).as_posix()
        for name in TOP_LEVEL
        for path in (folder / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the checkout, as building leaves files behind."""
    folder = tmp_path_factory.mktemp("tree") / "sluice"
    folder.mkdir()
    for name in METADATA:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder)
    for name in (*TOP_LEVEL, *ELSEWHERE):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return folder


@pytest.fixture(scope="module")
def sdist(tree, tmp_path_factory):
    return Path(Stager._build_setup_package(str(tree / "setup.py"), str(tmp_path_factory.mktemp("dist"))))


@pytest.fixture(scope="module")
def environment(tmp_path_factory, sdist):
    """Runs a command in a clean environment that holds the sdist and, borrowed by PYTHONPATH, its dependencies.

    A folder on PYTHONPATH does not have its .pth files read, so the checkout, if it is installed here in editable
    mode, is not importable there.
    """
    home = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    paths = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(command: str, *arguments: str) -> str:
        line = [str(home / "bin" / command), *arguments]
        done = subprocess.run(line, cwd=home, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", "--no-compile"]
    run("python", "-m", "pip", "install", *options, str(sdist))
    site = Path(run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    return run, site


def test_the_sdist_holds_our_packages_and_nothing_else(sdist):
    with tarfile.open(sdist) as tar:
        tops = {name.split("/")[1] for name in tar.getnames() if "/" in name}
    assert set(TOP_LEVEL) <= tops
    assert tops.isdisjoint(ELSEWHERE)


def test_every_module_and_data_file_arrives(tree, environment):
    _, site = environment
    assert shipped(site) == shipped(tree)


def test_only_our_names_are_installed(environment):
    _, site = environment
    ours = {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")}
    assert ours == set(TOP_LEVEL)


def test_top_level_names_import_from_there(environment):
    run, site = environment
    program = (
        f"import {', '.join(TOP_LEVEL)}; print(*({', '.join(f'{name}.__file__' for name in TOP_LEVEL)}), sep='\\n')"
    )
    assert run("python", "-c", program).split() == [str(site / name / "__init__.py") for name in TOP_LEVEL]


def test_a_worker_finds_every_transform(environment):
    run, _ = environment
    assert run("python", "-c", "from transforms.registry import catalog; print(*catalog())").split() == list(catalog())


def test_the_console_command_runs(environment):
    run, _ = environment
    said = run("sluice", "--help")
    assert "curate" in said and "sample" in said
