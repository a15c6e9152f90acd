"""The guard of our top-level names: it must see a second package that ships one, however that lists its files."""

import sys
from importlib.metadata import packages_distributions

import pytest

from jobs import preflight
from schemas.errors import SluiceError


def plant(site, name, files, *, top_level=None):
    """A distribution as an installer leaves it: its modules, METADATA, RECORD, and with old tools top_level.txt."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    for file in files:
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_text("")
    (info / "RECORD").write_text("".join(f"{file},sha256=x,0\n" for file in [*files, f"{info.name}/METADATA"]))
    if top_level is not None:
        (info / "top_level.txt").write_text("\n".join(top_level) + "\n")


OURS = [f"{name}/__init__.py" for name in preflight.TOP_LEVEL]


def test_the_environment_of_this_run_is_clean():
    preflight.check()


def test_nothing_installed_is_no_clash(tmp_path):
    """A clone that runs uninstalled."""
    preflight.check([str(tmp_path)])


@pytest.mark.parametrize("top_level", [None, ["transforms"]], ids=["record only", "top_level.txt"])
def test_a_second_owner_is_named_beside_us(tmp_path, top_level):
    plant(tmp_path, "sluice", OURS, top_level=list(preflight.TOP_LEVEL))
    plant(tmp_path, "backoffice", ["backoffice/__init__.py", "transforms/__init__.py"], top_level=top_level)
    with pytest.raises(SluiceError, match="'transforms' belongs to backoffice and sluice") as raised:
        preflight.check([str(tmp_path)])
    assert "Uninstall backoffice and reinstall sluice" in str(raised.value)
    assert "'model'" not in str(raised.value)


def test_a_module_file_of_our_name_is_a_clash(tmp_path):
    plant(tmp_path, "tiny", ["model.py"])
    with pytest.raises(SluiceError, match="'model' belongs to tiny"):
        preflight.check([str(tmp_path)])


def test_names_inside_other_packages_are_not_ours(tmp_path):
    plant(tmp_path, "other", ["other/transforms/__init__.py", "other/model.py", "models/__init__.py"])
    preflight.check([str(tmp_path)])


def test_installed_twice_over_is_still_us(tmp_path):
    """An editable install leaves an egg-info in the clone beside the dist-info in the environment."""
    for site in (tmp_path / "a", tmp_path / "b"):
        plant(site, "sluice", OURS)
    preflight.check([str(tmp_path / "a"), str(tmp_path / "b")])


def test_agrees_with_the_standard_library(tmp_path, monkeypatch):
    plant(tmp_path, "sluice", OURS, top_level=list(preflight.TOP_LEVEL))
    plant(tmp_path, "backoffice", ["transforms/__init__.py", "jobs/x.py", "backoffice.py"])
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    theirs = {name: set(owners) for name, owners in packages_distributions().items() if name in preflight.TOP_LEVEL}
    assert preflight.owners_of_names() == theirs


def test_a_folder_of_our_name_earlier_on_the_path(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "model", raising=False)
    with pytest.raises(SluiceError, match=f"'model' comes from {tmp_path}"):
        preflight.check([])
