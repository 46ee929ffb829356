"""``metaloop report``: a study, a match or an import as one HTML file that opens offline."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

from meta.cli import resolve
from meta.cli.flags import AnyStudy
from meta.cli.options import flag, verb
from meta.cli.output import Output
from programs.errors import NotFound, UsageError

NAME = "report.html"


@verb(
    ("metaloop report studies/NAME", "writes studies/NAME/report.html"),
    ("metaloop report studies/NAME -o page.html --open", "elsewhere, and look at it"),
    ("metaloop report studies/NAME --card card.png", "a picture of the verdict too"),
)
def report(
    out: Output,
    study: AnyStudy,
    target: Annotated[str | None, flag(f"Where to  [default: STUDY/{NAME}].", "-o", "--out", metavar="FILE")],
    card: Annotated[str | None, flag("The verdict as a picture of 1200 x 630; needs Chromium.", metavar="PNG")],
    look: Annotated[bool, flag("Open it in the browser.", "--open")],
) -> None:
    """Write what a study shows as one HTML file that opens offline: verdict,
    standings, the champion's text by credit, runs, lineage, cost, caveats. Every
    figure stands beside the query that it follows from."""
    from analysis.report import page, picture
    from meta.cli.again import again

    folder = folder_of(study, out)
    file, image = place(target or folder / NAME), place(card) if card else None
    with resolve.connect(folder) as con:
        html = page.report(con, resolve.shown(folder), again(con, resolve.shown(folder)))
        drawn = page.card(con, resolve.shown(folder)) if image else ""
    picture.save(html.encode("utf-8", "replace"), file)
    if image:
        picture.draw(drawn, image)
    written = [str(path) for path in (file, image) if path]
    if out.mode == "json":
        out.json({"study": resolve.shown(folder), "report": str(file), "card": str(image) if image else None,
                  "bytes": file.stat().st_size})  # fmt: skip
    else:
        out.text("\n".join(written))
    if look and not webbrowser.open(file.resolve().as_uri()):
        out.note(f"no browser could be opened; open {file} by hand")


def folder_of(study: str | None, out: Output) -> Path:
    """The folder of a study; one that holds nothing but a ledger, such as a foreign import, will do as well."""
    from analysis.study import ledger_folder

    try:
        return resolve.study_folder(study, out)
    except NotFound:
        if study is None or not Path(study).expanduser().is_dir():
            raise
        ledger_folder(Path(study).expanduser())
        return Path(study).expanduser()


def place(named: str | Path) -> Path:
    """The file that is meant; a folder is refused."""
    path = Path(named).expanduser()
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint=f"name a file: {path / NAME}")
    return path
