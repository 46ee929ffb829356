"""The report as one HTML file that opens offline: all parts in order, with scripts and data inside."""

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
    night,
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
from analysis.report.model import Again, ReportFacts, ReportSection
from analysis.report.source import ReportSource
from programs.templates import jinja_environment

if TYPE_CHECKING:
    import duckdb
    from jinja2 import Environment
    from markupsafe import Markup

HOME = Path(__file__).parent.parent
TEMPLATES, ASSETS = HOME / "templates" / "report", HOME / "assets"
LIBRARIES = ("d3.min.js", "plot.umd.min.js")  # in the order in which they must run
SCRIPTS = ("charts.js", "experiments.js", "page.js")
PARTS: tuple[Callable[[ReportFacts], ReportSection | None], ...] = (
    verdict.section,
    night.section,
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


def report(con: duckdb.DuckDBPyConnection, study: str, again: Again | None = None) -> str:
    """The page about an open study; ``study``: its folder, as written in the commands on the page."""
    facts = gather(ReportSource(con, study), again)
    return render(facts, sections(facts))


def sections(facts: ReportFacts) -> list[ReportSection]:
    """The parts that apply, in the order of the page; for an import, without empty parts."""
    made = [section for section in (part(facts) for part in PARTS) if section is not None]
    return [section for section in made if section.figures or section.more or not facts.logs.rows]


def render(facts: ReportFacts, parts: Sequence[ReportSection]) -> str:
    """The whole file. The content security policy lists the hashes of the scripts, so no other script can run."""
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


def name_of(facts: ReportFacts) -> str:
    """The name of the study's folder, used as the title."""
    return Path(facts.source.study).name or facts.source.study


@cache
def environment() -> Environment:
    made = jinja_environment(TEMPLATES, escaped=True)
    made.filters["embed"] = embed
    return made


def embed(value: Any) -> Markup:
    """JSON that is safe inside a script element: it cannot end the element, open a comment or break a line."""
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
    """The licences of the embedded libraries, as a comment; they must accompany the code."""
    return "\n\n".join(f"{name}\n{asset(name)}" for name in ("LICENSE-d3", "LICENSE-plot")).replace("--", "- -")


def _markup(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)  # our own files, and JSON that embed has escaped
