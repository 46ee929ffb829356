"""``metaloop report``: a study or an import as one HTML file that opens offline."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from analysis.imports.columns import Stated
from analysis.imports.study import import_logs
from analysis.report import page
from analysis.report.card import card as draw_card
from analysis.study import ledger_folder
from arena.contest.listing import name_entries
from arena.contest.settings import ContestConfig
from meta.cli import resolve
from meta.cli.commands import verb
from meta.cli.flags import AnyStudy
from meta.cli.options import flag
from meta.cli.output import Output
from programs.common.errors import EnvironmentProblem, NotFound, UsageError
from programs.common.files import write_whole

NAME = "report.html"


@verb(
    ("metaloop report studies/NAME", "writes studies/NAME/report.html"),
    ("metaloop report studies/NAME -o page.html --open", "writes page.html and opens it"),
    ("metaloop report results.tsv", "a log of another loop: writes results.html"),
)
def report(
    out: Output,
    study: AnyStudy,
    target: Annotated[str | None, flag(f"The file to write  [default: STUDY/{NAME}].", "-o", "--out", metavar="FILE")],
    card: Annotated[str | None, flag("Also draw verdict and runs as a picture, 1200 x 630.", metavar="SVG")],
    look: Annotated[bool, flag("Open the report in the browser.", "--open")],
) -> None:
    """Write a study as one HTML file that opens offline: verdict, standings, the
    champion's text coloured by estimated effect, runs, lineage, cost and caveats.
    Every figure comes with its SQL query. STUDY may also be a log, such as
    results.tsv: results.html is then what a report of its import would be."""
    if study and Path(study).expanduser().is_file():
        log = Path(study).expanduser()
        with imported(log) as folder:
            _write(out, folder, "STUDY", target or log.with_suffix(".html"), card, look)
        return
    folder = folder_of(study, out)
    _write(out, folder, resolve.shown(folder), target or folder / NAME, card, look)


@contextmanager
def imported(log: Path) -> Iterator[Path]:
    """A temporary study of a log."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "study"
        try:
            import_logs([log], folder, Stated())
        except UsageError as error:
            hint = f"metaloop import {log}, which has the option, and metaloop report of its study ({error.hint})"
            raise UsageError(error.message, hint=hint) from None
        yield folder


def _write(out: Output, folder: Path, shown: str, target: Path | str, card: str | None, look: bool) -> None:
    file, picture = file_path(target), file_path(card) if card else None
    if picture and picture.suffix.lower() != ".svg":
        raise UsageError(f"{picture} is no .svg file", hint=f"--card {picture.with_suffix('.svg')}")
    with resolve.connect(folder) as con:
        title = ""
        if (folder / resolve.CONTEST).is_file():
            name_entries(con, folder)
            title = ContestConfig.read(folder).title
        texts = {file: page.report(con, shown, title)}
        if picture:
            texts[picture] = draw_card(con, shown)
    for path, text in texts.items():
        write_text(text, path)
    item = {"study": shown, "report": str(file), "card": str(picture) if picture else None}
    out.text("\n".join(map(str, texts)), item=item | {"bytes": file.stat().st_size})
    if look and not webbrowser.open(file.resolve().as_uri()):
        out.note(f"no browser could be started; open {file} yourself")


def folder_of(study: str | None, out: Output) -> Path:
    """The folder of a study; a folder with only a ledger, such as an import, is accepted too."""
    try:
        return resolve.study_folder(study, out)
    except NotFound:
        if study is None or not Path(study).expanduser().is_dir():
            raise
        ledger_folder(Path(study).expanduser())
        return Path(study).expanduser()


def write_text(text: str, target: Path) -> None:
    """Write a file in a folder that is made if need be. Raises EnvironmentProblem if that is impossible."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, text.encode("utf-8", "replace"))
    except OSError as error:
        hint = "name a file that can be written"
        raise EnvironmentProblem(f"{error.filename}: {error.strerror}", hint=hint) from error


def file_path(text: str | Path) -> Path:
    """The path of a file to write. Raises UsageError for a folder."""
    path = Path(text).expanduser()
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint=f"name a file: {path / NAME}")
    return path
