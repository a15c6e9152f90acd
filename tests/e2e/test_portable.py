"""Portable runners give the same bytes as the local one, so that nothing quietly depends on it."""

from __future__ import annotations

import pytest

from pipeline.curate import curate
from pipeline.graph import Launcher
from schemas.manifest import read_manifest
from tests.e2e.corpus import shard_digests, small_recipe, write_corpus
from tests.e2e.prism import prism_server


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The corpus and the local runner's dataset."""
    folder = tmp_path_factory.mktemp("portable")
    write_corpus(folder, documents=60)
    curate(small_recipe(folder, folder / "local"), Launcher("direct", 1))
    return folder


def same_as_local(local, name: str, launcher: Launcher) -> None:
    curate(small_recipe(local, local / name), launcher)
    assert shard_digests(local / name) == shard_digests(local / "local")
    assert read_manifest(local / name).counts == read_manifest(local / "local").counts


def test_prism_gives_the_same_bytes(local):
    with prism_server() as flags:
        same_as_local(local, "prism", Launcher("portable", 1, flags))


def test_the_embedded_job_server_gives_the_same_bytes(local):
    same_as_local(local, "embed", Launcher("portable", 1, ["--job_endpoint=embed", "--environment_type=LOOPBACK"]))
