"""Runner names to Beam runners and options."""

from __future__ import annotations

import sys
from typing import Any

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, SetupOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from schemas.errors import SluiceError

#: our short names; Beam's own class names are accepted too
RUNNERS = {
    "direct": "DirectRunner",
    "prism": "PrismRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "dataflow": "DataflowRunner",
    "portable": "PortableRunner",
}
_OFFERED = {**RUNNERS, **{name.lower(): name for name in RUNNERS.values()}, "fnapirunner": "DirectRunner"}


def runner_name(name: str) -> str:
    """Beam's name for `name`; raises SluiceError for one that is unknown or known to lose data."""
    found = _OFFERED.get(name.lower())
    if found is None:
        raise SluiceError(f"unknown runner {name!r}; known: {', '.join(RUNNERS)} (or Beam's own names for them)")
    return found


def is_local(name: str) -> bool:
    """Whether pipelines run in this process, so that a pool of processes is what uses the cores."""
    return runner_name(name) == "DirectRunner"


def pipeline_arguments(name: str, flags: list[str]) -> tuple[Any, PipelineOptions]:
    """The (runner, options) to build a beam.Pipeline with.

    `direct` means FnApiRunner, in memory, by name: Beam's DirectRunner picks an engine by what the graph holds, and
    tries to download one first. Its multi-threaded mode loses rows and is refused.
    """
    beam_name = runner_name(name)
    options = PipelineOptions(flags)
    known = options.get_all_options(drop_default=True)
    mode = str(known.get("direct_running_mode", "in_memory"))
    if mode == "multi_threading":
        raise SluiceError("direct_running_mode=multi_threading loses rows in Beam 2.77; leave it out and use --workers")
    unknown = [flag for flag in flags if flag.startswith("--data_buffer_time_limit_ms")]
    if unknown:
        raise SluiceError("--data_buffer_time_limit_ms makes Beam's Python harness lose data; leave it out")
    options.view_as(SetupOptions).save_main_session = False
    if beam_name == "DirectRunner":
        options.view_as(DirectOptions).direct_running_mode = "in_memory"
        return FnApiRunner(), options
    if beam_name == "PortableRunner" and "environment_type" not in known:
        options = PipelineOptions([*flags, "--environment_type=LOOPBACK"])
    if beam_name in ("PrismRunner", "FlinkRunner") and "environment_type" not in known:
        options = PipelineOptions([*flags, "--environment_type=LOOPBACK"])
    sys.stdout.flush()  # job servers are forked: what is buffered would be printed twice
    return beam_name, options
