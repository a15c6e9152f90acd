"""`sluice forget DIR WHAT…`: rows taken out of a finished dataset, and the proof that they are gone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from pipeline.report.display import plain, safe_json
from schemas.errors import SluiceError

_SHOWN = 10
_NOTES = (
    "the input still holds the rows: clean it too, or a run with --overwrite or changed input brings them back",
    "the tokenizer was not searched: a vocabulary trained on the rows is what it was, and so are models trained on the "
    "shards, and copies and backups of this folder",
)


def forget(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished dataset folder (it has a manifest.json).")],
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="WHAT...", help="Ids, sources (file#row), URLs, sha256 of a media part or of a text."),
    ] = None,
    names_from: Annotated[Path | None, typer.Option("--from", metavar="FILE", help="More of them, one a line.")] = None,
    missing_ok: Annotated[bool, typer.Option("--missing-ok", help="Go on without names that are of no row.")] = False,
    salt: Annotated[str, typer.Option("--salt", help="Hashed with an id into what stands in its stead.")] = "",
    index: Annotated[
        Path | None, typer.Option("--index", help="Forget them in this dedup index too (see curate --against).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the certificate as JSON.")] = False,
) -> None:
    """Take rows out of DIR: rewrite the shards and ledger files that have them, and prove that they are gone.

    Killed or stopped, the same command goes on where it was.
    """
    from pipeline.forget import forget as forget_rows
    from pipeline.forget.wanted import read_names

    names = [*(what or []), *(read_names(names_from) if names_from else [])]
    if not names:
        raise SluiceError("nothing to forget: give ids, sources, URLs or sha256s, or --from FILE")
    with Console(stderr=True).status(f"forgetting in {plain(str(folder))}"):
        certificate = forget_rows(folder, names, missing_ok=missing_ok, salt=salt, index=index)
    certificate["notes"] = list(_NOTES)
    if as_json:
        typer.echo(safe_json(certificate))
    else:
        _print(certificate)
    if not certificate.get("index", {"absent": True})["absent"]:
        raise SluiceError(f"{index} still has something of what was to be forgotten; run the same command again")
    if not certificate["absent"]:
        found = "; ".join(certificate["searched"]["found"][:_SHOWN])
        raise SluiceError(f"{folder} still has something of what was to be forgotten: {plain(found, 2000)}")


def _print(certificate: dict[str, Any]) -> None:
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)

    def say(text: str, style: str = "") -> None:
        console.print(Text(text, style=style))

    if certificate["missing"]:
        say(f"not there: {_some(certificate['missing'])}")
    if certificate["forgotten_before"]:
        say(f"forgotten before: {_some(certificate['forgotten_before'])}")
    if "rows" in certificate:
        _print_work(certificate, say)
    if "index" in certificate:
        told = certificate["index"]
        say(
            f"index {plain(told['index'])}: {told['entries']:,} entries of {told['rows']:,} rows taken out, "
            f"{len(told['rewritten']):,} files rewritten; nothing of them is left"
            if told["absent"]
            else f"index {plain(told['index'])}: entries are left"
        )
    searched = certificate["searched"]
    say(
        f"searched: {searched['shards']:,} shards ({searched['documents']:,} documents, {searched['media']:,} media "
        f"parts), {searched['ledger_files']:,} ledger files ({searched['ledger_lines']:,} lines), "
        f"{searched['reports']:,} reports, {searched['other_files']:,} other files"
    )
    if searched["num_copies"]:
        shown = _some([copy["id"] for copy in searched["copies"]])
        say(f"the same tokens or media are in {searched['num_copies']:,} documents of other rows: {shown}", "yellow")
    if searched["mentions"]:
        say(f"other text contains a name: {_some(searched['mentions'])}", "yellow")
    if certificate["absent"]:
        say("absent: nothing of what was named was found", "bold")
    for note in certificate["notes"]:
        say(f"note: {note}")


def _print_work(certificate: dict[str, Any], say: Any) -> None:
    rows = certificate["rows"]
    for row in rows[:_SHOWN]:
        why = ", had to go too: the shards cannot tell it from another of its id" if row["indistinguishable"] else ""
        say(f"forgotten: {plain(row['id'])} ({plain(row['source'])}, was {row['verdict']}) -> {row['tombstone']}{why}")
    if len(rows) > _SHOWN:
        say(f"… and {len(rows) - _SHOWN:,} more")
    say(
        f"{len(rows):,} rows and {certificate['part_lines']:,} lines of media parts; "
        f"{certificate['documents_cut']:,} documents cut out, {certificate['documents_compared']:,} beside them "
        f"unchanged; {len(certificate['rewritten']):,} files rewritten, {certificate['untouched']:,} untouched"
    )
    if certificate["work_deleted"]:
        say("deleted: the intermediate files in .work")
    if certificate["duplicates_cleared"]:
        say(f"{certificate['duplicates_cleared']:,} lines of their duplicates no longer quote them")
    copies = certificate["copies"]
    if copies["ledger_lines"]:
        shown = _some(
            [
                f"{copy['id']} ({', '.join(copy['shares'])})".replace("match_id", "what one was a duplicate of")
                for copy in copies["shown"]
            ]
        )
        say(f"{copies['ledger_lines']:,} ledger lines of rows that were not named share something: {shown}", "yellow")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(plain(name) for name in names[:_SHOWN]) + more
