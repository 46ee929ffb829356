"""One HTML file that opens offline: the parts of the report, in their order, with all they need inside."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.report import (
    ablation,
    caveats,
    champion,
    experiments,
    lineage,
    logs,
    power,
    progress,
    reproduce,
    spent,
    standings,
    transfer,
    tried,
    verdict,
)
from analysis.report.facts import gather
from analysis.report.model import Again, Facts, Point, Section
from analysis.report.rows import StandingRow
from analysis.report.source import Source

if TYPE_CHECKING:
    import duckdb
    from jinja2 import Environment
    from markupsafe import Markup

HOME = Path(__file__).parent.parent
TEMPLATES, ASSETS = HOME / "templates" / "report", HOME / "assets"
LIBRARIES = ("d3.min.js", "plot.umd.min.js")  # in the order in which they must run
SCRIPTS = ("charts.js", "experiments.js", "page.js")
PARTS: tuple[Callable[[Facts], Section | None], ...] = (
    verdict.section,
    logs.section,
    standings.section,
    transfer.section,
    champion.section,
    ablation.section,
    progress.section,
    lineage.section,
    tried.section,
    spent.section,
    experiments.section,
    power.section,
    caveats.section,
    reproduce.section,
)


def report(con: duckdb.DuckDBPyConnection, place: str, again: Again | None = None) -> str:
    """The page about an open study; ``place`` is how its folder is named in the commands that the page shows."""
    facts = gather(Source(con, place), again)
    return render(facts, sections(facts))


def sections(facts: Facts) -> list[Section]:
    """The parts that apply, in the order of the page; of an import those that have something to show."""
    made = [found for found in (part(facts) for part in PARTS) if found is not None]
    return [found for found in made if found.figures or found.more or not facts.logs.rows]


def render(facts: Facts, parts: Sequence[Section]) -> str:
    """The whole file. Scripts are named by their hashes in the policy: nothing else on the page can run."""
    scripts = [*(asset(name) for name in LIBRARIES), *(template_text(name) for name in SCRIPTS)]
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            facts=facts,
            sections=parts,
            scripts=[_markup(text) for text in scripts],
            hashes=[script_hash(s) for s in scripts],
            style=_markup(template_text("style.css")),
            licences=_markup(licences()),
            name=name_of(facts),
        )
    )


def card(con: duckdb.DuckDBPyConnection, place: str) -> str:
    """A page of 1200 by 630 pixels: the verdict and the standings that it rests on, for `metaloop report --card`."""
    facts = gather(Source(con, place))
    return (
        environment()
        .get_template("card.html.j2")
        .render(
            facts=facts,
            verdict=verdict.verdict(facts),
            cost=verdict.cost(facts),
            arms=bars(facts.board[:6]),
            name=name_of(facts),
            style=_markup(template_text("style.css")),
        )
    )


def bars(rows: Sequence[StandingRow]) -> list[Point]:
    """Where the dots and intervals of the card lie, in percent of its axis."""
    ends = [0.0, *(end for row in rows for end in (row.gain, row.low, row.high) if end is not None)]
    low, width = min(ends), (max(ends) - min(ends)) or 1.0

    def at(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - low) / width, 2)

    return [
        {
            "name": row.display_name,
            "role": row.role,
            "zero": at(0.0),
            "at": at(row.gain),
            "low": at(row.low),
            "high": at(row.high),
        }
        for row in rows
    ]


def name_of(facts: Facts) -> str:
    """The study as a title names it: its folder."""
    return Path(facts.source.place).name or facts.source.place


@cache
def environment() -> Environment:
    import jinja2

    from analysis import wording

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"embed": embed, "number": wording.number, "places": wording.decimals, "typical": wording.typical}
    return made


def embed(value: Any) -> Markup:
    """JSON that may stand inside a script element: nothing in it ends the element, opens a comment or breaks a line."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return _markup(text)


def script_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def template_text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def licences() -> str:
    """The licences of the libraries inside, as a comment; they ask to go where the code goes."""
    return "\n\n".join(f"{name}\n{asset(name)}" for name in ("LICENSE-d3", "LICENSE-plot")).replace("--", "- -")


def _markup(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)  # our own files, and JSON that embed has made harmless
