"""What every benchmark shares: measured commands, environments for peers, the table and the result file.

A benchmark runs ours and its peers in one go on one machine, and its numbers are ratios: of CPU seconds, which a busy
machine disturbs less than wall time.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "bench"
#: where every measured Python keeps its bytecode: start-up is measured, and whether somebody's settings or installer
#: left packages uncompiled is not
BYTECODE = CACHE / "bytecode"
RESULTS = ROOT / "benchmarks" / "results"
#: datatrove as every benchmark installs it
DATATROVE = ("datatrove[io,processing]==0.10.1", "spacy>=3.8,<4", "setuptools<81")


@dataclass(frozen=True)
class Cost:
    """What a command cost, its descendants included; `peak_rss_bytes` is the sum over its processes, `main_rss_bytes`
    and `worker_rss_bytes` are its own process's and the largest other's."""

    cpu_s: float
    wall_s: float
    peak_rss_bytes: int
    main_rss_bytes: int
    worker_rss_bytes: int


@dataclass(frozen=True)
class Stage:
    """One line of a result: ours and the peers' in `unit`. `ratio` above 1 means ours is better, by that factor.

    `floor` is what the fastest loop we know of does, one made for nothing else; `target` the ratios aimed at."""

    ours: float
    peers: Mapping[str, float]
    ratio: Mapping[str, float]
    unit: str
    floor: float | None = None
    target: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, ours: float, peers: Mapping[str, float], unit: str, *, less_is_better: bool = False, **more: Any
    ) -> Stage:
        """A stage with its ratios; `more` are `floor` and `target`."""
        if ours <= 0 or any(theirs <= 0 for theirs in peers.values()):
            raise SystemExit(f"a measurement in {unit} is not positive: ours {ours:g}, peers {dict(peers)}")
        ratio = {name: (theirs / ours if less_is_better else ours / theirs) for name, theirs in peers.items()}
        return cls(ours, dict(peers), ratio, unit, **more)


def size() -> str:
    """SIZE from the environment: small (about three minutes in all) or full."""
    chosen = os.environ.get("SIZE", "small")
    if chosen not in ("small", "full"):
        raise SystemExit(f"SIZE must be small or full, got {chosen!r}")
    return chosen


def cores() -> int:
    """Cores this process may use; ours and the peers get the same."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> Cost:
    """Runs a command once; raises SystemExit with the end of its output when it fails."""
    with tempfile.TemporaryDirectory() as folder:
        result, log = Path(folder) / "cost.json", Path(folder) / "log"
        line = [sys.executable, "-m", "benchmarks.measure", result, *command]
        with log.open("wb") as output:
            subprocess.run(
                [str(part) for part in line],
                cwd=ROOT,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(BYTECODE), **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        said = log.read_text(errors="replace")[-3000:]
        if not result.exists():
            raise SystemExit(f"{' '.join(map(str, command))} could not be measured:\n{said}")
        cost = json.loads(result.read_text())
        if cost.pop("exit_code") != 0:
            raise SystemExit(f"{' '.join(map(str, command))} failed:\n{said}")
    return Cost(**cost)


def typical(costs: Iterable[Cost]) -> Cost:
    """The median of each figure over repeated runs."""
    rows = [asdict(cost) for cost in costs]
    return Cost(**{name: median(row[name] for row in rows) for name in rows[0]})


def peer_python(name: str, requirements: Sequence[str]) -> Path:
    """The Python of an environment of its own for a peer, made by venv and pip the first time it is asked for."""
    home = CACHE / name
    python = home / "bin" / "python"
    stamp = home / f".installed-{hashlib.sha256(chr(10).join(requirements).encode()).hexdigest()[:12]}"
    if not stamp.exists():
        print(f"installing {name} into {home}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        subprocess.run([*pip, *requirements], check=True)
        stamp.touch()
    return python


def peer_versions(python: Path, names: Sequence[str]) -> dict[str, str]:
    """Installed versions in a peer's environment."""
    program = "import sys, importlib.metadata as m; print(*(m.version(n) for n in sys.argv[1:]))"
    done = subprocess.run([str(python), "-c", program, *names], capture_output=True, text=True, check=True)
    return dict(zip(names, done.stdout.split(), strict=True))


def machine() -> dict[str, Any]:
    """What the numbers were taken on; `load` is the run queue's length before the benchmark began."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
    }


def write_result(
    name: str, stages: Mapping[str, Stage], *, machine: Mapping[str, Any], versions: Mapping[str, str], **more: Any
) -> Path:
    """Writes benchmarks/results/NAME.json and prints its table; `more` are further top-level facts."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    rows = {stage: asdict(row) for stage, row in stages.items()}
    body = {"date": date.today().isoformat(), "stages": rows, "machine": machine, "versions": versions}
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(_rounded({**body, **more}), indent=2, ensure_ascii=False) + "\n")
    _print(name, stages)
    return path


def our_versions(names: Sequence[str]) -> dict[str, str]:
    """Installed versions in this environment."""
    return {name: version(name) for name in names}


def _print(name: str, stages: Mapping[str, Stage]) -> None:
    columns, rows = cells(stages)
    table = Table(title=f"bench-{name}", title_justify="left", box=None)
    for at, column in enumerate(columns):
        table.add_column(column, justify="left" if at in (0, len(columns) - 1) else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def cells(stages: Mapping[str, Stage]) -> tuple[list[str], list[list[str]]]:
    """(column titles, rows) of the table: ours, the peers', the ratios with what is aimed at, the floor's share."""
    peers = list(dict.fromkeys(peer for row in stages.values() for peer in row.peers))
    floors = ["of the floor"] if any(row.floor for row in stages.values()) else []
    rows = []
    for stage, row in stages.items():
        ratios = []
        for peer in peers:
            aim = f" (≥ {row.target[peer]:g})" if peer in row.target else ""
            ratios.append(_number(row.ratio[peer]) + aim if peer in row.ratio else "–")
        share = [f"{row.ours / row.floor:.0%}" if row.floor else "–"] if floors else []
        values = [_number(row.ours), *(_number(row.peers.get(peer)) for peer in peers)]
        rows.append([stage, *values, *ratios, *share, row.unit])
    return ["", "sluice", *peers, *(f"× {peer}" for peer in peers), *floors, "unit"], rows


def write_section(document: Path, name: str, body: str) -> None:
    """Replaces what stands between a document's `<!-- bench-NAME -->` and `<!-- /bench-NAME -->`."""
    text = document.read_text(encoding="utf-8")
    begin, end = f"<!-- bench-{name} -->\n", f"<!-- /bench-{name} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{document} has no section between {begin.strip()} and {end}")
    document.write_text(f"{before}{begin}{body.strip()}\n{end}{after}", encoding="utf-8")


def markdown(stages: Mapping[str, Stage]) -> str:
    """The table as Markdown."""
    columns, rows = cells(stages)
    marks = ["---", *("---:" for _ in columns[2:]), "---"]
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, marks, *rows])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.3g}" if value < 100 else f"{value:,.0f}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list | tuple) else value
