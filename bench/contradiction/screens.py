"""Every screen of a study that states a verdict, as text: one line for each block, cells of tables between bars."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

from analysis.report.card import card
from analysis.report.page import report as html_report
from analysis.study import open_study
from bench.common import champion_of
from meta.cli.output import Output
from meta.cli.standings import show_standings
from meta.cli.status import read_status, show_status
from meta.cli.studies import list_row
from meta.cli.study_result import show_study_result
from meta.ui.app import page, study_page
from meta.ui.live import LiveStudy
from meta.ui.studies import follow

BLOCKS = {"p", "li", "tr", "h1", "h2", "h3", "figcaption", "summary", "div", "section", "dt", "dd", "caption", "ul"}
VOID = {"br", "hr", "img", "input", "meta", "link", "col"}
WIDTH = 400  # columns of the terminal, so that no sentence is broken


class Visible(HTMLParser):
    """The text of a page without scripts, SQL statements and the glossary."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            return
        inside = bool(self.open) and self.open[-1][1]
        classes = (dict(attrs).get("class") or "").split()
        hidden = inside or tag in ("script", "style", "pre", "template", "title") or "words" in classes
        self.open.append((tag, hidden))
        self.parts.append("\n" if tag in BLOCKS else " | " if tag in ("td", "th") else "")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass
        self.parts.append("\n" if tag in BLOCKS else "")

    def handle_data(self, data: str) -> None:
        if not (self.open and self.open[-1][1]):
            self.parts.append(data.replace("\n", " "))


def visible(html: str) -> str:
    parser = Visible()
    parser.feed(html)
    return "".join(parser.parts)


@contextmanager
def a_wide_terminal() -> Iterator[io.StringIO]:
    """Both streams together, as a person reads them."""
    import os

    before, text = os.environ.get("COLUMNS"), io.StringIO()
    os.environ["COLUMNS"] = str(WIDTH)
    try:
        with redirect_stdout(text), redirect_stderr(text):
            yield text
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def printed(show: Callable[[Output], object], person: bool = True) -> str:
    with a_wide_terminal() as text:
        show(Output(person=person))
    return text.getvalue()


def as_json(show: Callable[[Output], object]) -> str:
    with redirect_stdout(io.StringIO()) as text, redirect_stderr(io.StringIO()):
        show(Output(as_json=True))
    return text.getvalue()


def screens(folder: Path) -> dict[str, str]:
    """Screen → its text. ``json`` has the sentences of the object that ``metaloop evolve --json`` ends with."""
    with open_study(folder) as con:
        report, drawn = html_report(con, str(folder)), card(con, str(folder))
    champion = champion_of(folder)
    followed = follow("study", folder)
    followed.look()
    status = read_status(LiveStudy(folder))
    pages = {
        "window": page("studies", {"studies": None, "rows": [(followed, *followed.item())]}),
        "window page": study_page(followed),
    }
    out = {
        **{name: visible(bytes(response.body).decode()) for name, response in pages.items()},
        "report": visible(report),
        "card": " ".join(text.strip() for text in _texts(ElementTree.fromstring(drawn))),
        "status": printed(lambda o: show_status(o, status)),
        "status, json": as_json(lambda o: show_status(o, status)),
        "standings": printed(lambda o: show_standings(o, folder, every=champion is None)),
        "standings, json": as_json(lambda o: show_standings(o, folder, every=champion is None)),
        "list": str(list_row(folder, Output())["lead"]),
    }
    if champion is not None:
        out["evidence"] = (folder / "champion.evidence.md").read_text("utf-8")
        out["end"] = printed(lambda o: show_study_result(o, folder))
        out["end, piped"] = printed(lambda o: show_study_result(o, folder), person=False)
        out["json"] = " ".join(json.loads(as_json(lambda o: show_study_result(o, folder)))["sentences"])
    return out


def _texts(drawn: ElementTree.Element) -> Iterator[str]:
    for element in drawn.iter():
        if element.tag.endswith("text") and element.text:
            yield element.text
