"""What a run did, recounted from the files it wrote: the counts of the manifest, and the report a person reads.

recount.py   ledger and shards -> schemas.manifest.Counts, with the cross-checks that make the numbers a proof
write.py     a finished dataset folder -> report.json and report.html
lookup.py    one row's story, for `sluice explain`
"""

from pipeline.report.write import write_report

__all__ = ["write_report"]
