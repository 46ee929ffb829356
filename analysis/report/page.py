"""The report as one HTML file that opens offline: the verdict, its parts, the program's text, experiments, caveats."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.report import cells, experiments, program_text
from analysis.report.progress import MainTurn, Progress, RunGain, of_nights, of_runs
from analysis.report.sections import PARTS, Part, Row
from analysis.report.source import Answer, ReportSource
from analysis.verdict.caveats import TEXTS
from analysis.verdict.verdict import Verdict, verdict_of
from programs.common.errors import MetaloopError
from programs.common.templates import jinja_environment
from programs.common.text import escaped
from trainer.sandbox import flag

if TYPE_CHECKING:
    import duckdb
    from jinja2 import Environment
    from markupsafe import Markup

    from trainer.task import Task

HOME = Path(__file__).parent.parent
TEMPLATES, ASSETS = HOME / "templates" / "report", HOME / "assets"
LIBRARIES = ("d3.min.js", "plot.umd.min.js")  # in the order in which they must run
SCRIPTS = ("charts.js", "experiments.js", "page.js")
POINTS = 12_000  # experiments of the runs that are drawn
OPEN = 12  # rows of a table that is open at first


@dataclass(frozen=True)
class Figure:
    """A chart and its table. ``data`` is what charts.js draws."""

    id: str
    title: str
    kind: str
    legend: Sequence[tuple[str, str]]
    data: dict[str, Any]
    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    answer: Answer[Row]
    open: bool = False


@dataclass(frozen=True)
class Page:
    """What the template shows of a study; ``parts``: those with rows, each with its figures."""

    source: ReportSource
    verdict: Verdict

    @cached_property
    def given(self) -> dict[str, Any]:
        """The values of the queries."""
        d = self.verdict.decision
        last = [self.verdict.match_id] if self.verdict.match_id else []
        return {
            "deciding": [*d.match_ids] if d else last, "champion": self.champion or "", "points": POINTS,
            "first": self.champion, "most": experiments.MOST,
        }  # fmt: skip

    @cached_property
    def champion(self) -> str | None:
        """The id of the champion."""
        row = self.source.con.execute("SELECT program_id FROM champions ORDER BY named_at DESC LIMIT 1").fetchone()
        return row[0] if row else None

    @property
    def unsafe(self) -> str:
        """What a command that trains again needs, where the study had no sandbox."""
        return flag(self.source.config.get("sandbox") is not False)

    @property
    def command_line(self) -> str:
        """The command that made the study; empty where it is not known, as of an import, or takes a run of another."""
        config = self.source.config
        return str(config.get("line") or "") if config.get("kind") != "replay" else ""

    @cached_property
    def leader(self) -> str | None:
        """The program whose text is shown: the champion, that of an ablation, or the best of the last match."""
        best = "SELECT program_id FROM standings WHERE match_id = $1 AND gain IS NOT NULL ORDER BY gain DESC LIMIT 1"
        row = self.source.con.execute(best, [self.verdict.match_id]).fetchone()
        return self.champion or self.verdict.ablated or (row[0] if row else None)

    @property
    def is_import(self) -> bool:
        return bool(self.asked("logs").rows)

    @cached_property
    def parts(self) -> list[tuple[Part, list[Figure]]]:
        return [(part, figures) for part in PARTS if (figures := self.figures(part))]

    @cached_property
    def pictures(self) -> list[Progress]:
        """The first ones of the page: of its runs, or of each night."""
        if nights := self.asked("night").rows:
            metrics = {row["id"]: (row["metric"], row["direction"]) for row in self.asked("runs").rows}
            return of_nights([MainTurn(**row) for row in nights], metrics)
        return of_runs([RunGain(**row) for row in self.asked("progress").rows], self.champion)

    @cached_property
    def answers(self) -> dict[str, Answer[Row]]:
        return {}

    def asked(self, name: str) -> Answer[Row]:
        if name not in self.answers:
            self.answers[name] = self.source.rows(name, **self.given)
        return self.answers[name]

    def figures(self, part: Part) -> list[Figure]:
        """One for each value of the column that splits the part; none without rows."""
        answer, groups = self.asked(part.name), dict[str, list[Row]]()
        for row in answer.rows:
            groups.setdefault(row[part.split] if part.split else "", []).append(part.through(row))
        figures = []
        for number, (value, rows) in enumerate(groups.items()):
            titles, table = cells.table(rows, {*part.hidden, part.split})
            unit = rows[0].get("unit") or part.unit or self.verdict.unit or "gain"
            title = f"{part.title}: {value}" if value else part.title
            figures.append(Figure(
                f"{part.name}-{number}", f"{title}, in {unit}" if {"gain", "estimate"} & rows[0].keys() else title,
                part.chart, part.legend_of(rows), {"unit": unit, "rows": rows}, titles, table, answer,
                not part.chart or len(table) <= OPEN,
            ))  # fmt: skip
        return figures

    @cached_property
    def tasks(self) -> list[Task]:
        """The training tasks that are on this machine."""
        return [task for task in map(known_task, self.source.tasks) if task]

    @cached_property
    def program(self) -> dict[str, Any] | None:
        return program_text.of(self.source, self.leader) if self.leader else None

    @cached_property
    def experiments(self) -> Figure | None:
        answer = self.asked("experiments")
        if not answer.rows:
            return None
        texts = {row["directive_id"]: row["text"] for row in self.source.rows("directive_texts").rows}
        data: dict[str, Any] = dict(experiments.embedded(answer.rows, texts))
        kept = [row for row in answer.rows if row["decision"] == "keep" and row["gain"] is not None]
        kept = (sorted(kept, key=lambda row: -row["gain"]) or answer.rows)[:60]
        columns = ("experiment_id", "program", "line", "number", "decision", "status", "metric", "gain", "description")
        titles, table = cells.table([{name: row[name] for name in columns} for row in kept])
        return Figure("experiments-0", "Experiments", "experiments", (), data, titles, table, answer)

    @cached_property
    def identity(self) -> Answer[Row]:
        return self.source.rows("study")


def known_task(name: str) -> Task | None:
    """The task of that name or folder; None if it is not on this machine."""
    from trainer.task import Task

    try:
        return Task.load(name) if name else None
    except (MetaloopError, OSError):
        return None


def report(con: duckdb.DuckDBPyConnection, study: str, title: str = "") -> str:
    """The page about an open study; ``study``: its folder, as written in the commands on the page; ``title``: where it
    is not the folder's name. The content security policy lists the hashes of the scripts, so no other can run."""
    study, title = escaped(study), escaped(title)
    page = Page(ReportSource(con, study), verdict_of(con))
    scripts = [*(asset(name) for name in LIBRARIES), *(template_text(name) for name in SCRIPTS)]
    return environment().get_template("page.html.j2").render(
        page=page, v=page.verdict, name=title or Path(study).name or study, study=shlex.quote(study),
        scripts=[_markup(s) for s in scripts],
        hashes=[script_hash(s) for s in scripts], style=_markup(template_text("style.css")),
        licences=_markup(licences()),
        table=[[*row.values()] for row in page.verdict.table], most=experiments.MOST, checked=len(TEXTS),
    )  # fmt: skip


@cache
def environment() -> Environment:
    jinja = jinja_environment(TEMPLATES, escaped=True)
    jinja.filters["embed"] = embed
    return jinja


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
