"""champion.evidence.md, one page for people and models: the verdict, what changed, the ideas with their estimates."""

from __future__ import annotations

import re
import shlex
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from analysis.evidence.page_text import quoted
from analysis.found_scripts import found_script, script_sentence
from analysis.ledger.events import HarvestEvent
from analysis.ledger.run_state import StudyState
from analysis.report.program_text import CreditRow
from analysis.report.source import ReportSource
from analysis.study import read_study
from analysis.verdict.claim import Champion
from analysis.verdict.verdict import verdict_of
from analysis.views.tables import rows, statement
from analysis.wording import brief, chance, duration, estimate, many
from arena.after.harvest import HARVEST
from arena.study.public_data import public_lines
from arena.study.setup import reference
from arena.study.study import Study
from arena.study.task_study import tasks_of
from meta.steering import steering_outcomes
from programs.common.templates import jinja_environment
from programs.common.text import one_line
from programs.diff import Diff, diff
from programs.directives import ORDER, Directive
from programs.evolved_for import EvolvedFor
from trainer.edits import Edit
from trainer.freshness import SENTENCES, SPLIT
from trainer.sandbox import flag

TEMPLATES = Path(__file__).parents[1] / "templates"
LONGER = 1.2  # times the untouched train.py: some of the gain may be bought
MOST_ROWS, MOST_CHANGES, MOST_TEXT = 16, 30, 90  # rows of a table, lines of the diff, characters of a statement


def evidence_page(study: Study, champion: Champion) -> str:
    """The page as markdown. Every estimate on it is a row of a view, with its id."""
    program, decision, config = champion.program, champion.decision, study.config
    with read_study(study.folder) as con:
        verdict = verdict_of(con, decision=decision)
        steps = rows(con.execute(statement("writers/lineage_steps"), {"program": program.program_id}))
        statements = ReportSource(con, "").ask("directive_credit", CreditRow, program=program.program_id).rows
        turns = rows(con.execute(statement("writers/night_contributed"))) if decision.night else []
        kept = rows(con.execute(statement("writers/night_kept"))) if decision.night else []
        limits = rows(con.execute("FROM constraints WHERE role IN ('champion', 'control') ORDER BY task, name, role"))
    credit = [row for row in statements if row.estimate is not None]
    credit.sort(key=lambda row: (not row.significant, row.q is None, row.q, -abs(row.estimate or 0.0)))
    first = study.program(steps[0]["parent_id"]) if steps else None
    page = jinja_environment(TEMPLATES)
    page.filters |= {"line": line, "cell": cell, "estimate": estimate, "chance": chance, "brief": brief, "many": many}
    return page.get_template("champion.evidence.md.j2").render(
        champion=champion, v=verdict, d=decision, config=config, rows=MOST_ROWS, lines=MOST_CHANGES,
        researcher=str(EvolvedFor.of(config.researcher, config.llm.models)),
        steps=steps, change=changed_lines(diff(first, program)) if first else [], night=turns, kept=kept,
        credit=credit, without=len(statements) - len(credit), fresh=SENTENCES[SPLIT] if decision.fresh == SPLIT else "",
        learnt=study.program(config.knowledge.program_id).name if config.knowledge else "",
        public=public_lines(study), harvests=list(harvests(study)),
        steered=[row for row in steering_outcomes(study.folder, study.state) if row.state != "waiting"],
        limits=[row for row in limits if decision.rests_on(row["match_id"])], folder=shlex.quote(str(study.folder)),
        exact=config.fixed_steps or study.task.law is not None, unsafe=flag(config.sandbox),
    )  # fmt: skip


def changed_lines(change: Diff) -> list[str]:
    """The diff as lines with + and -; a changed order of the ideas is one remark instead of a list of ids."""
    signed: list[tuple[str, Directive]] = [("-", old) for old in change.removed]
    signed += [pair for old, new in change.changed for pair in (("-", old), ("+", new))]
    signed += [("+", new) for new in change.added]
    lines = list[str]()
    for sign, directive in signed:
        if directive.kind != ORDER:
            file = f" in {line(directive.file)}" if directive.file else ""
            lines.append(f"{sign} {directive.kind}{file}: {line(directive.text)}")
    return lines if len(lines) == len(signed) else [*lines, "  (the ideas are in another order)"]


def line(text: str) -> str:
    """Text of a program on one line, escaped: it ends no table cell or fenced block and is no HTML, link or picture."""
    plain = one_line(text).replace("|", "\\|").replace("~~~", "~ ~ ~")
    return re.sub(r"<(?=[a-z/!?])", r"\\<", plain, flags=re.IGNORECASE).replace("](", "]\\(")


def cell(text: str) -> str:
    """The same as inline code, shortened, so that nothing in it is markdown or HTML."""
    return quoted(one_line(text, MOST_TEXT)).replace("|", "\\|")


@dataclass(frozen=True)
class HarvestedScript:
    """The harvest on one task. ``verified``: what `metaloop verify` gets, and ``task``, both quoted for a shell.
    ``steps``: the edits that lead to the train.py, each with its origin (see `HarvestExperimentEvent`)."""

    event: HarvestEvent
    files: list[tuple[Path, str]]
    verified: str
    task: str
    steps: list[tuple[str, Edit]]
    cost: str
    sentence: str


def harvests(study: Study) -> Iterator[HarvestedScript]:
    """``best_train.py``, or ``best/TASK/FILE`` where the study has several tasks or the task several files."""
    for task in (task_study.task for task_study in tasks_of(study)):
        event = study.state.harvests.get((task.name, HARVEST))
        if event is None:
            continue
        folder, untouched = study.folder / "best" / event.task, task.edits.config(task.baseline())
        alone = not study.config.further and len(event.files) == 1 and "/" not in event.files[0][0]
        files = [(study.folder / f"best_{name}" if alone else folder / name, text) for name, text in event.files]
        yield HarvestedScript(
            event,
            files,
            shlex.quote(str(files[0][0] if len(files) == 1 else folder)),
            shlex.quote(reference(task)),
            steps_to(study.state, event) or [("run", task.edits.between(untouched, event.config))],
            training_cost(study.state, event.task),
            script_sentence(found_script(task, event), "It", "the untouched one"),
        )


def training_cost(state: StudyState, task: str) -> str:
    """How long a training of the harvest's train.py takes, and one of the untouched; empty if that is not known."""
    measured = [event for (stage, _), event in state.harvested.get((task, HARVEST), {}).items() if stage == "measure"]
    # a night's result is verified like that of any run
    new = [event.device_seconds_spent for event in measured or state.verifications() if event.status == "ok"]
    old = [
        event.device_seconds_spent - (event.further_seconds or 0.0)
        for event in state.baselines_of(task, "confirmation")
        if event.status == "ok"
    ]
    if not any(new) or not any(old):
        return ""
    seconds, before = statistics.fmean(new), statistics.fmean(old)
    text = f"Average training: {duration(seconds)} of device time (untouched script: {duration(before)})."
    return f"{text} Part of the gain may come from longer training." if seconds > LONGER * before else text


def steps_to(state: StudyState, event: HarvestEvent) -> list[tuple[str, Edit]]:
    """From the untouched train.py to that of a harvest; empty where no search made it, as in a night."""
    trained = sorted(state.harvested[event.task, HARVEST].items(), reverse=True)
    by_source = {step.source_id: step for (stage, _), step in trained if stage in ("search", "measure")}
    chain, source_id = list[tuple[str, Edit]](), str(event.source_id)
    while step := by_source.get(source_id):
        chain.insert(0, (f"{step.origin} {step.from_run or ''}".strip(), step.edit))
        source_id = step.parent_source_id or ""
    return chain
