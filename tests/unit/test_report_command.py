"""`sluice report`: writes both files, and prints a summary a person or a pipe can read."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from jobs import report as command
from tests.unit.report_fixture import build

_APP = typer.Typer()
_APP.command()(command.report)


def test_summary_when_piped_is_plain_lines(tmp_path: Path) -> None:
    build(tmp_path)
    result = CliRunner().invoke(_APP, [str(tmp_path)], catch_exceptions=False)
    found = json.loads((tmp_path / "report.json").read_text())
    counts = found["counts"]
    assert "\x1b" not in result.output and "█" not in result.output
    assert f"600 rows in = {counts['rows_kept']:,} kept" in result.output
    for step in found["funnel"]:
        (line,) = [line for line in result.output.splitlines() if line.startswith(step["step"] + " ")]
        assert line.split()[1] == f"{step['rejected']:,}"
    assert (tmp_path / "report.html").exists()
    assert str(tmp_path / "report.html") in result.output


def test_json_is_report_json(tmp_path: Path) -> None:
    build(tmp_path)
    result = CliRunner().invoke(_APP, [str(tmp_path), "--json"], catch_exceptions=False)
    assert result.stdout == (tmp_path / "report.json").read_text()


def test_bars_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path)
    screen = io.StringIO()
    monkeypatch.setattr(command, "Console", lambda **kw: Console(**kw, file=screen, force_terminal=True, width=140))
    command.print_summary(command.write_report(tmp_path), tmp_path / "report.html")
    assert "█" in screen.getvalue()


def test_nothing_to_report(tmp_path: Path) -> None:
    build(tmp_path, lines=[], with_run=False)
    result = CliRunner().invoke(_APP, [str(tmp_path)], catch_exceptions=False)
    assert "0 rows in = 0 kept + 0 rejected" in result.output
    assert "The inputs held no rows." in result.output


def test_not_a_dataset_exits_1(tmp_path: Path) -> None:
    assert CliRunner().invoke(_APP, [str(tmp_path)]).exit_code == 1
