"""champion.evidence.md, one page for people and models: the verdict, what changed, the ideas with their estimates."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from analysis.report.evidence_text import quoted
from analysis.report.program_text import CreditRow
from analysis.report.source import ReportSource
from analysis.study import read_study
from analysis.tables import rows, statement
from analysis.verdict.verdict import verdict_of
from analysis.wording import brief, chance, estimate
from arena.public import public_lines
from arena.study import Study
from meta.harvest_page import harvests
from meta.steering import wishes
from meta.verdict import Champion
from programs.diff import Diff, diff
from programs.directives import Directive
from programs.evolved_for import EvolvedFor
from programs.templates import jinja_environment
from programs.text import one_line
from trainer.cards.freshness import SAID, SPLIT

TEMPLATES = Path(__file__).parent / "templates"
MOST_ROWS, MOST_CHANGES, MOST_TEXT = 16, 30, 90  # rows of a table, lines of the diff, characters of a statement


def evidence_page(study: Study, champion: Champion) -> str:
    """The page as markdown. Every estimate on it is a row of a view, with its id."""
    program, d, config = champion.program, champion.decision, study.config
    with read_study(study.folder) as con:
        found = verdict_of(con, decision=d)
        steps = rows(con.execute(statement("lineage_steps"), {"program": program.program_id}))
        every = ReportSource(con, "").ask("directive_credit", CreditRow, program=program.program_id).rows
        night = rows(con.execute(statement("night_contributed"))) if d.night else []
        kept = rows(con.execute(statement("night_kept"))) if d.night else []
        limits = rows(con.execute("FROM constraints WHERE role IN ('champion', 'control') ORDER BY task, name, role"))
    credit = [row for row in every if row.estimate is not None]
    credit.sort(key=lambda row: (not row.is_proven, row.q is None, row.q, -abs(row.estimate or 0.0)))
    first = study.program(steps[0]["parent_id"]) if steps else None
    page = jinja_environment(TEMPLATES)
    page.filters |= {"line": line, "cell": cell, "estimate": estimate, "chance": chance, "brief": brief}
    return page.get_template("champion.evidence.md.j2").render(
        champion=champion, v=found, d=d, config=config, rows=MOST_ROWS, lines=MOST_CHANGES,
        researcher=str(EvolvedFor.of(config.researcher, config.staff.models)),
        steps=steps, change=changes(diff(first, program)) if first else [], night=night, kept=kept,
        credit=credit, without=len(every) - len(credit), fresh=SAID[SPLIT] if d.fresh == SPLIT else "",
        public=public_lines(study), harvests=list(harvests(study)),
        steered=[wish for wish in wishes(study.folder, study.state) if wish.state != "waiting"],
        limits=[row for row in limits if d.rests_on(row["match_id"])], folder=shlex.quote(str(study.folder)),
    )  # fmt: skip


def changes(change: Diff) -> list[str]:
    """The diff as lines with + and -; a changed order of the ideas is one remark instead of a list of ids."""
    pairs: list[tuple[Directive | None, Directive | None]] = [(old, None) for old in change.removed]
    pairs += [*change.changed, *((None, new) for new in change.added)]
    lines, moved = list[str](), False
    for pair in pairs:
        for sign, d in zip("-+", pair, strict=True):
            moved |= d is not None and d.kind == "order"
            if d is not None and d.kind != "order":
                lines.append(f"{sign} {_kind(d)}: {line(d.text)}")
    return [*lines, *["  (the ideas are in another order)"] * moved]


def _kind(directive: Directive) -> str:
    """The kind of a statement, and its file where that is not the entry file."""
    return f"{directive.kind} in {line(directive.file)}" if directive.file else directive.kind


def line(text: str) -> str:
    """Text of a program on one line, escaped: it ends no table cell or fenced block and is no HTML, link or picture."""
    plain = one_line(text).replace("|", "\\|").replace("~~~", "~ ~ ~")
    return re.sub(r"<(?=[a-z/!?])", r"\\<", plain, flags=re.IGNORECASE).replace("](", "]\\(")


def cell(text: str) -> str:
    """The same as inline code, shortened, so that nothing in it is markdown or HTML."""
    whole = one_line(text)
    return quoted(whole if len(whole) <= MOST_TEXT else f"{whole[: MOST_TEXT - 1]}…").replace("|", "\\|")
