"""The demo corpus: text in many languages, rendered pictures and sounds, with every planted fault labelled."""

from jobs.sample.write import write_sample

__all__ = ["write_sample"]
