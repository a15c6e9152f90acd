"""Rows taken out of a finished dataset for the right to erasure: exactly the affected files are rewritten, and that
nothing of the rows is left is proved by reading everything back.

wanted.py      what a person names, matched against columns (a ledger's, an index's)
lookup.py      the ledger's lines of the named rows, and what other rows share with them
places.py      which documents of which shards are theirs
surgery.py     documents cut out of packed sequences
tombstones.py  what stands in the ledger in a forgotten row's stead
rewrite.py     the new files, each checked against the one it replaces
proof.py       everything in the folder searched
index.py       the same in a dedup index
job.py         the order of it all, such that it can be killed at any point
"""

from pipeline.forget.job import forget

__all__ = ["forget"]
