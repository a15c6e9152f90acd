"""Forgetting rows, in an order that can be killed at any point.

    the index ─► new files beside the old ─► journal ─► reports away ─► manifest replaced ─► old files away ─► report
    ─► proof

Up to the manifest's replacement the dataset is what it was, and what lies beside its files is swept away by the next
run; from it on the dataset is without the rows, and the journal says what is left to do.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.forget.index import forget_in_index, names_in_index, require_index
from pipeline.forget.lookup import Found, Line, Survey, find_lines, rows_and_parts, survey
from pipeline.forget.places import find_places, shard_groups
from pipeline.forget.proof import Needles, search
from pipeline.forget.rewrite import Rewritten, rewrite_ledger, rewrite_shard
from pipeline.forget.tombstones import Burial, tombstone_id
from pipeline.forget.wanted import Wanted, check_names
from pipeline.outputs import REPORTS, locked
from pipeline.report import write_report
from pipeline.report.recount import recount
from pipeline.storage import write_bytes
from pipeline.workdir import WORK
from schemas.control_tokens import END_OF_TEXT
from schemas.errors import SluiceError
from schemas.manifest import MANIFEST_NAME, Manifest, read_manifest

JOURNAL = ".forgetting.json"
_NAMED = 5
#: folders in which every file is the manifest's, or left over
_LISTED = ("shards", "ledger")


def forget(
    folder: str | Path,
    names: Iterable[str],
    *,
    missing_ok: bool = False,
    salt: str = "",
    index: str | Path | None = None,
) -> dict[str, Any]:
    """Takes the rows that `names` name out of a finished dataset, and out of a dedup index; returns the certificate.

    Raises SluiceError, with nothing changed, when a name is of no row and `missing_ok` is not set.
    """
    folder = Path(folder)
    wanted = Wanted(names)
    check_names(wanted.names)
    if index is not None:
        require_index(Path(index))
    read_manifest(folder)  # or the lock would make a folder
    with locked(folder), nullcontext() if index is None else locked(Path(index)):
        earlier = _resume(folder)
        known = set(earlier["wanted"]) if earlier else set()
        manifest = read_manifest(folder)
        found = find_lines([folder / entry.path for entry in manifest.ledger], wanted, salt)
        indexed = set() if index is None else names_in_index(Path(index), wanted)
        missing = [n for n in wanted.names if n not in found.names | found.buried | known | indexed]
        if missing and not missing_ok:
            raise SluiceError(_unknown(folder, missing))
        if earlier is not None and not (earlier["absent"] and found.lines):
            return earlier
        certificate: dict[str, Any] = {"dataset": str(folder), "wanted": list(wanted.names), "missing": missing}
        certificate["forgotten_before"] = sorted(found.buried | known)
        if index is not None:  # first, while the ledger still knows whose texts and pictures are meant
            rows = {(line.values["source"], line.values["id"]) for line in found.lines if line.values["part"] is None}
            certificate["index"] = forget_in_index(Path(index), wanted, rows, manifest.run_fingerprint)
        if not found.lines:
            write_report(folder)
            return certificate | _proved(folder, Needles([n for n in wanted.names if n not in found.graves]))
        try:
            new, needles, told = _rewrite(folder, manifest, found, wanted, salt)
        except BaseException:
            _sweep(folder, manifest)
            raise
        data = new.model_dump_json(indent=1).encode()
        journal = {"manifest": hashlib.sha256(data).hexdigest(), "needles": needles.data()}
        journal["certificate"] = certificate | told
        write_bytes(folder / JOURNAL, json.dumps(journal).encode())
        for name in REPORTS:  # at no moment does a report stand beside a manifest of other rows
            (folder / name).unlink(missing_ok=True)
        write_bytes(folder / MANIFEST_NAME, data)
        return _finish(folder, journal)


def _rewrite(
    folder: Path, manifest: Manifest, found: Found, wanted: Wanted, salt: str
) -> tuple[Manifest, Needles, dict[str, Any]]:
    """Writes the new files; the manifest to be, what to search for, and what the certificate says of the work."""
    ledger = [folder / entry.path for entry in manifest.ledger]
    groups = shard_groups(found.tokens, [entry.tokens for entry in manifest.shards])
    burial = Burial(salt, *rows_and_parts(found.lines, wanted))
    known = survey(ledger, burial)
    places = find_places(known.lines, known.rivals, groups, manifest.sequence_length)
    if joined := places.joined:
        burial = Burial(salt, burial.rows | {line.row for line in joined}, burial.parts)
        known = survey(ledger, burial)
        places = find_places(known.lines, known.rivals, groups, manifest.sequence_length)
    _sweep(folder, manifest)
    done = Rewritten()
    for number, cuts in sorted(places.cuts.items()):
        pad_id = manifest.tokenizer.special_ids[END_OF_TEXT]
        rewrite_shard(folder, manifest.shards[number], cuts, pad_id, done)
    for number in sorted(known.files):
        rewrite_ledger(folder, manifest.ledger[number], burial, done)
    new = _new_manifest(folder, manifest, done, sum(line.values["part"] is None for line in known.lines))
    needles = Needles.of([name for name in wanted.names if name not in found.graves], burial)
    needles.tokens = {document.tokens.hex(): document.length for document in done.cut}
    needles.media = sorted({digest.hex() for document in done.cut for digest in document.media})
    told = _told(known, joined, done, manifest, salt) | {"work_deleted": (folder / WORK).exists()}
    return new, needles, told


def _new_manifest(folder: Path, manifest: Manifest, done: Rewritten, rows: int) -> Manifest:
    """The manifest of the new files and those that stay, recounted from them."""
    shards = [done.shards.get(entry.path, entry) for entry in manifest.shards]
    left = [entry for entry in shards if entry is not None]
    ledger = [done.ledger.get(entry.path, entry) for entry in manifest.ledger]
    counts = recount([folder / entry.path for entry in ledger], [folder / entry.path for entry in left])
    if counts.rows_in != manifest.counts.rows_in:
        raise AssertionError(f"the ledger accounted for {manifest.counts.rows_in} rows, now for {counts.rows_in}")
    changed = {"shards": left, "ledger": ledger, "counts": counts, "forgotten": manifest.forgotten + rows}
    return manifest.model_copy(update=changed)


def _told(known: Survey, joined: list[Line], done: Rewritten, manifest: Manifest, salt: str) -> dict[str, Any]:
    """What the certificate says of the work itself."""
    also = {line.row for line in joined}
    rows = [line for line in known.lines if line.values["part"] is None]
    replaced = {path: entry and entry.path for path, entry in (done.shards | done.ledger).items()}
    return {
        "rows": [
            {
                "id": line.values["id"],
                "source": line.values["source"],
                "verdict": line.values["verdict"],
                "tombstone": tombstone_id(line.values["id"], salt),
                "indistinguishable": line.row in also,
            }
            for line in rows
        ],
        "part_lines": len(known.lines) - len(rows),
        "duplicates_cleared": known.quoting,
        "copies": {"ledger_lines": known.num_copies, "shown": known.copies},
        "documents_cut": len(done.cut),
        "documents_compared": done.compared,
        "rewritten": replaced,
        "untouched": len(manifest.shards) + len(manifest.ledger) - len(replaced),
    }


def _resume(folder: Path) -> dict[str, Any] | None:
    """Finishes what a killed run left to do, and returns its certificate; None when there was nothing."""
    try:
        journal = json.loads((folder / JOURNAL).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise SluiceError(f"{folder / JOURNAL} is not what `sluice forget` wrote ({error}); delete it") from error
    if hashlib.sha256((folder / MANIFEST_NAME).read_bytes()).hexdigest() == journal["manifest"]:
        return _finish(folder, journal)
    _sweep(folder, read_manifest(folder))
    if not all((folder / name).exists() for name in REPORTS):
        write_report(folder)
    (folder / JOURNAL).unlink()
    return None


def _finish(folder: Path, journal: dict[str, Any]) -> dict[str, Any]:
    """All that comes after the manifest; may be done twice. The journal stays when the proof fails."""
    _sweep(folder, read_manifest(folder))
    if (folder / WORK).exists():  # intermediate files hold the rows
        shutil.rmtree(folder / WORK)
    write_report(folder)
    certificate = journal["certificate"] | _proved(folder, Needles(**journal["needles"]))
    if certificate["absent"]:
        (folder / JOURNAL).unlink()
    return certificate


def _proved(folder: Path, needles: Needles) -> dict[str, Any]:
    result = search(folder, needles, but=JOURNAL)
    return {"searched": asdict(result), "absent": not result.found}


def _sweep(folder: Path, manifest: Manifest) -> None:
    """Deletes what the manifest does not list: files of before, and those of a run that was killed."""
    listed = {folder / e.path for e in manifest.shards} | {folder / e.path for e in manifest.ledger}
    for name in _LISTED:
        for path in (folder / name).rglob("*"):
            if path not in listed and not path.is_dir():
                path.unlink()
    for name in (MANIFEST_NAME, JOURNAL, *REPORTS):
        for path in folder.glob(f".{name}.*.tmp"):
            path.unlink()


def _unknown(folder: Path, missing: list[str]) -> str:
    shown = ", ".join(map(repr, missing[:_NAMED]))
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return (
        f"{folder} has no row with the id, source, URL or sha256 {shown}{more}; nothing was changed. A row that was "
        "forgotten before is known by its id or source only, and a ledger made before version 2 has no URLs and "
        "digests. --missing-ok goes on without these names"
    )
