"""champion.evidence.md: the confirmation, and the evidence for each change from the ancestors to the champion."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from analysis import decision_text
from analysis.constraint_values import ConstraintValues
from analysis.contributions import EARLY, Contribution
from analysis.credit import CreditViewRow, of_verdict
from analysis.decision import LEVEL, ArmGain, twins
from analysis.evidence import EditCredit, evidence
from analysis.evidence_text import quoted
from analysis.knowledge import family_of
from analysis.origin import in_words
from analysis.report.champion import TriedRow
from analysis.report.source import ReportSource
from analysis.scales import UNIT
from analysis.standings import Standing
from analysis.statistics import Mean, mean_interval
from analysis.study import read_study
from analysis.tables import rows, statement, typed_rows
from analysis.transfer import Cell
from analysis.trust import findings_line, gain_name
from analysis.wording import few, role_name
from analysis.writing_events import MutationEvent
from arena.public import public_lines
from arena.study import Study
from arena.task_set import TaskSet
from inner_loop.behaviour import inert_directives, resolved_ideas
from inner_loop.night import LEAST_REPEATED
from meta.claim import Claim
from meta.confirmation import FINAL
from meta.harvest_page import harvests
from meta.night import NIGHT
from meta.population import descendants
from meta.rewriting import harmful, why_kept
from meta.steering import Wish, wishes
from meta.transfer_page import tasks_of
from meta.verdict import Champion
from programs.diff import Diff, diff
from programs.directives import Directive
from programs.evolved_for import EvolvedFor
from programs.program import Program
from programs.templates import jinja_environment
from programs.text import one_line
from trainer.cards.card_summary import summary
from trainer.cards.freshness import SAID, freshness
from trainer.task import Task
from trainer.values.conditional import ConditionalEdit

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def evidence_page(study: Study, champion: Champion) -> str:
    """The page as markdown. Every estimate on it is a row of a view, with its id."""
    if champion.decision.night:
        return night_page(study, champion)
    made, tasks = environment(), training_tasks(study)
    with read_study(study.folder) as con:
        standings = typed_rows(con.execute("SELECT * FROM standings ORDER BY match_id, gain DESC"), Standing)
        limits = typed_rows(con.execute("FROM constraints ORDER BY task, name, role"), ConstraintValues)
        purpose = dict(con.execute("SELECT match_id, purpose FROM matches").fetchall())
        path = steps(study, champion.program, con)
        plans = ideas(study, champion.program, con)
        best = statements(con, champion.program)
        tries = ReportSource(con, "").ask("directive_tries", TriedRow, program=champion.program.program_id).rows
        task_rows = tasks_of(con, champion)
        counts = con.execute("SELECT kind, count(*) FROM findings GROUP BY kind ORDER BY kind").fetchall()
    worse = harmful(tries)
    return made.get_template("champion.evidence.md.j2").render(
        champion=champion, claim=champion.claim, decision=champion.decision, say=decision_text, level=LEVEL,
        config=study.config,
        researcher=str(EvolvedFor.of(study.config.researcher, study.config.staff.models)),
        unit=UNIT if champion.claim.tasks else study.task.unit, gain_name=gain_name(champion.trust),
        confirmed=[row for row in standings if champion.decision.rests_on(row.match_id)],
        limits=[
            row
            for row in limits
            if champion.decision.rests_on(row.match_id) and row.role in ("champion", "control")
        ],
        twins=[decision_text.aa_text(aa) for task in tasks if (aa := twins([
            ArmGain(row.program_id, row.role, row.task, task.unit, row.n, row.gain, row.se)
            for row in standings
            if purpose[str(row.match_id)] == "race" and row.task == task.name
        ]))],
        steps=path, written=written_from(study, path[0].parents[0] if path else champion.program),
        ideas=of_each_idea(plans) if champion.claim.families else plans, statements=best,
        why_kept=why_kept([one.varies for one in worse]),
        inert=len(inert_everywhere(champion.program, tasks)),
        directives=len(champion.program.directives), folder=shlex.quote(str(study.folder)),
        fresh=fresh_lines(TaskSet.confirming(study).tasks),
        by_family=partial(by_family, families={task.name: family_of(task) for task in tasks if task.family}),
        findings=findings_line(counts, str(study.folder)), public=public_lines(study),
        headroom=[text for task in tasks if (text := of_headroom(task, champion.claim))],
        harvests=harvests(study),
        task_rows=task_rows,
        one_line=any(row.role == "one-line" for row in standings), steered=steered(study, champion.program),
    )  # fmt: skip


def environment() -> Environment:
    made = jinja_environment(TEMPLATES)
    made.filters |= {
        "interval": interval,
        "line": line,
        "cell": cell,
        "verb": verb,
        "mean": decision_text.interval,
        "few": few,
        "role": role_name,
    }
    return made


def night_page(study: Study, champion: Champion) -> str:
    """The page of a night: what each program did, what became `main`, and what that gains."""
    names = {program_id: row.name for program_id, row in study.state.programs.items()}
    with read_study(study.folder, views=["contributions"]) as con:
        contributed = typed_rows(con.execute("FROM contributions"), Contribution)
        kept = rows(con.execute(statement("night_kept")))
        counts = con.execute("SELECT kind, count(*) FROM findings GROUP BY kind ORDER BY kind").fetchall()
    return environment().get_template("night.evidence.md.j2").render(
        champion=champion, decision=champion.decision, say=decision_text, level=LEVEL, config=study.config,
        researcher=str(EvolvedFor.of(study.config.researcher, study.config.staff.models)), unit=study.task.unit,
        fresh=fresh_lines([study.task]), findings=findings_line(counts, str(study.folder)), early=EARLY,
        contributed=[(row, names[row.program_id]) for row in contributed],
        kept=[(row, names[row["program_id"]]) for row in kept],
        twice=study.config.run_budget >= LEAST_REPEATED * study.task.cost_seconds,
        written=written_from(study, champion.program), harvests=harvests(study), folder=shlex.quote(str(study.folder)),
    )  # fmt: skip


def fresh_lines(tasks: Sequence[Task]) -> list[str]:
    """What is fresh in the confirmation, each kind once, with the names of its tasks."""
    kinds: dict[str, list[str]] = {}
    for task in tasks:
        kinds.setdefault(freshness(task), []).append(task.name)
    return [f"{few(names, 'task')}: {SAID[kind]}" for kind, names in kinds.items()]


def by_family(rows: Sequence[CreditViewRow | EditCredit], families: Mapping[str, str]) -> list[tuple[str, str, Mean]]:
    """Family, unit and mean of the estimates over its tasks, with an interval over tasks."""
    each: dict[str, list[CreditViewRow | EditCredit]] = {}
    for row in rows:
        each.setdefault(families[row.task], []).append(row)
    known = {name: [row.estimate for row in own if row.estimate is not None] for name, own in each.items()}
    return [(name, own[0].unit, mean_interval(known[name])) for name, own in each.items()]


def of_headroom(task: Task, claim: Claim) -> str:
    """The champion's gain as a share of the best gain that the task's card knows; empty without an up-to-date card."""
    known = summary(task)
    mean = next((on.claim.champion.mean for on in claim.tasks if on.task == task.name), claim.champion.mean)
    if known.state != "measured" or not known.headroom_sd or not known.seed_sd or mean is None:
        return ""
    best = known.headroom_sd * known.seed_sd
    return (
        f"The champion's gain on {task.name} is {mean / best:.0%} of the gain of the best single edits together, "
        f"{best:.4g} {task.unit} (`metaloop task show {task.name}`).{' Other edits help too.' * (mean > best)}"
    )


@dataclass(frozen=True)
class LineageStep:
    """A mutation on the way to the champion: ``change`` as lines, ``credits``, the ``facts`` it was written from."""

    child: Program
    parents: list[Program]
    mutation: MutationEvent
    change: list[str]
    credits: list[CreditViewRow]
    facts: list[EditCredit]


@dataclass(frozen=True)
class CarriedOutIdea:
    """An idea that a training task can carry out, with the estimate of its edit, or why there is none (``missing``)."""

    task: str
    text: str
    credit: EditCredit | None
    missing: str


def steps(study: Study, program: Program, con: DuckDBPyConnection) -> list[LineageStep]:
    """The mutations from the oldest ancestor to ``program``: diff, credit, and the facts each was written from.

    The facts are those known when the child was written: later experiments start from better sources.
    """
    made = {m.child_id: m for m in study.state.mutations if m.accepted}
    credit = typed_rows(con.execute("SELECT * FROM credit WHERE method = 'mutation'"), CreditViewRow)
    names = {task.name for task in training_tasks(study)}
    chain: list[LineageStep] = []
    child = program.program_id
    while child in made:
        mutation = made[child]
        parents = [study.program(p) for p in mutation.parent_ids]
        known = edit_facts(con, study, mutation.generation - 1)
        step = LineageStep(
            child=study.program(child),
            parents=parents,
            mutation=mutation,
            change=changes(diff(parents[0], study.program(child))),
            credits=[row for row in credit if row.child_id == child and row.task in names],
            facts=[fact for fact in known if fact.credit_id in mutation.evidence_ids],
        )
        chain.insert(0, step)
        child = parents[0].program_id
    return chain


@dataclass(frozen=True)
class WrittenFrom:
    """The user's program, of which a starter is a changed copy: the diff, its counts, and whether what is new in it was
    ``learnt`` on measured tasks."""

    parent: Program
    child: Program
    counts: str
    learnt: bool
    change: list[str]


def written_from(study: Study, first: Program) -> WrittenFrom | None:
    """``first``: the oldest program on the way to the champion. None for one that was not written from another."""
    row = study.state.programs[first.program_id]
    if row.operator not in ("knowledge", "other-search", "next") or not row.parent_ids:
        return None
    parent = study.program(row.parent_ids[0])
    lines = [text for text in changes(diff(parent, first)) if text[:1] in "+-"]  # appended ideas change no order
    return WrittenFrom(parent, first, ", ".join(in_words(parent, first)), row.operator == "knowledge", lines)


def steered(study: Study, program: Program) -> list[tuple[Wish, bool]]:
    """What a person gave while the study ran, and whether the champion descends from it."""
    known = study.state.programs
    given = [(wish, wish.child_id) for wish in wishes(study.folder, study.state) if wish.state != "waiting"]
    return [(wish, child is not None and program.program_id in descendants(child, known)) for wish, child in given]


def edit_facts(con: DuckDBPyConnection, study: Study, generation: int | None) -> tuple[EditCredit, ...]:
    """The estimates of single edits by the end of ``generation`` (None: by now), on each training task in its own
    unit; without the confirmation."""
    confirming = [m for m, event in study.state.matches.items() if event.purpose in FINAL and event.purpose != NIGHT]
    parts = [
        evidence(con, task.name, exclude_matches=confirming, until_generation=generation)
        for task in training_tasks(study)
    ]
    return tuple(edit for facts in parts for edit in facts.edits)


def training_tasks(study: Study) -> list[Task]:
    """The tasks of the search, in a study over families those of all its stages."""
    last = max((each.stage for each in study.config.fresh), default=0)
    later = [each for each in study.config.fresh if each.stage < last]
    return [study.task, *(Task.load(other.task) for other in (*study.config.further, *later))]


def inert_everywhere(program: Program, tasks: Sequence[Task]) -> set[str]:
    """Ids of the directives that have no effect on a scripted researcher on any of the tasks."""
    inert = [{directive.directive_id for directive in inert_directives(program, task)} for task in tasks]
    return set.intersection(*inert)


def changes(change: Diff) -> list[str]:
    """The diff as lines with + and -; a changed order of the ideas is one remark instead of a list of ids."""
    lines = [f"- {_kind(d)}: {line(d.text)}" for d in change.removed if d.kind != "order"]
    for old, new in change.changed:
        if new.kind != "order":
            lines += [f"- {_kind(old)}: {line(old.text)}", f"+ {_kind(new)}: {line(new.text)}"]
    lines += [f"+ {_kind(d)}: {line(d.text)}" for d in change.added if d.kind != "order"]
    moved = any(new.kind == "order" for _, new in change.changed) or any(
        d.kind == "order" for d in (*change.added, *change.removed)
    )
    return [*lines, "  (the ideas are in another order)"] if moved else lines


def _kind(directive: Directive) -> str:
    """The kind of a statement, and its file where that is not the entry file."""
    return f"{directive.kind} in {line(directive.file)}" if directive.file else directive.kind


def ideas(study: Study, program: Program, con: DuckDBPyConnection) -> list[CarriedOutIdea]:
    """The ideas that a training task can carry out, each with the estimate of its single edit over the search."""
    facts = edit_facts(con, study, None)
    out = []
    for task in training_tasks(study):
        known = {(fact.knob.lower(), str(fact.value)): fact for fact in facts if fact.task == task.name}
        out += [
            CarriedOutIdea(task.name, idea.text, *single(idea_edit, known))
            for idea, idea_edit in resolved_ideas(program, task)
        ]
    return out


def of_each_idea(plans: Sequence[CarriedOutIdea]) -> list[tuple[str, list[EditCredit], str]]:
    """The text of each idea, once, with its estimates on the tasks, and why others have none."""
    out = []
    for text in dict.fromkeys(one.text for one in plans):
        own = [one for one in plans if one.text == text]
        known = [one.credit for one in own if one.credit and one.credit.low is not None]
        out.append((text, known, "; ".join(dict.fromkeys(one.missing for one in own if one.missing))))
    return out


def statements(con: DuckDBPyConnection, program: Program) -> list[CreditViewRow]:
    """The best credit row of each directive of the program that has one, in the order of its text, in the unit of the
    verdict."""
    credits = typed_rows(con.execute(statement("best_credit"), [program.program_id]), CreditViewRow)
    best = {row.directive_id: of_verdict(row) for row in credits}
    return [best[d.directive_id] for d in program.directives if d.directive_id in best]


def verb(fact: EditCredit) -> str:
    """Causal words for randomised and paired designs only."""
    return "caused a gain of" if fact.causal else "was associated with a change of"


def single(idea_edit: ConditionalEdit, known: Mapping[tuple[str, str], EditCredit]) -> tuple[EditCredit | None, str]:
    """(the estimate of an idea that changes one thing to a given value, empty), or why there is none."""
    if not idea_edit.is_fixed:
        return None, "its change depends on the script"
    edit = idea_edit.fixed
    parts = [(name.lower(), str(value)) for name, value in edit.set.items()]
    parts += [(name.lower(), "True") for name in edit.apply]
    if len(parts) != 1:
        return None, "it changes several settings"
    credit = known.get(parts[0])
    if credit is None:
        return None, "it was never tried alone"
    if credit.low is not None or credit.estimate:
        return credit, ""
    return credit, "every try failed" if credit.failures >= credit.n else "the untouched script has this value"


def interval(row: Standing | CreditViewRow | EditCredit | Cell | Contribution, name: str = "estimate") -> str:
    """``0.12 [0.08, 0.16]``, or the figure alone if there is no interval."""
    if row.low is None:
        return f"{getattr(row, name):.4g}"
    return f"{getattr(row, name):.4g} [{row.low:.4g}, {row.high:.4g}]"


def line(text: str) -> str:
    """Text of a program on one line, escaped so that it cannot end a table cell or a fenced block."""
    return one_line(text).replace("|", "\\|").replace("~~~", "~ ~ ~")


def cell(text: str) -> str:
    """The same as inline code, so that nothing in it is markdown or HTML."""
    return quoted(text).replace("|", "\\|")
