"""The tables of docs/training.md are the settings there are, with the defaults they have."""

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from model.config import TrainConfig, to_dict

TEXT = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
WHOLE = TrainConfig(name="", steps=0, batch_sequences=0)
GROUPS = {"The run": WHOLE} | {name: value for name, value in vars(WHOLE).items() if dataclasses.is_dataclass(value)}


def told(heading: str) -> dict[str, str]:
    """Setting -> default, as the table under a heading has them."""
    _, _, below = TEXT.partition(f"\n### {heading}\n")
    table = re.split(r"\n##", below)[0]
    return dict(re.findall(r"^\| `(\w+)` \| (\S.*?) \| \S.* \|$", table, re.MULTILINE))


def plain(value: object) -> object:
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


@pytest.mark.parametrize("heading", GROUPS)
def test_every_setting_is_told_with_its_default(heading):
    group = GROUPS[heading]
    required = {f.name for f in dataclasses.fields(group) if f.default is dataclasses.MISSING} - set(GROUPS)
    settings = {name: value for name, value in to_dict(group).items() if name not in GROUPS}
    found = told(heading)
    assert list(found) == list(settings)
    assert {name for name, default in found.items() if default == "required"} == required
    for name in settings.keys() - required:
        default = yaml.safe_load(found[name].strip("`"))
        assert default == plain(settings[name]) and type(default) is type(plain(settings[name])), name


def test_every_group_has_a_table_and_no_other_has():
    section = TEXT.split("\n## Settings\n")[1].split("\n## ")[0]
    assert re.findall(r"^### (.+)$", section, re.MULTILINE) == list(GROUPS)
