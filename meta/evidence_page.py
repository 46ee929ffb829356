"""champion.evidence.md: what was confirmed, and for each change against the ancestors what supports it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import decision_text
from analysis.decision import LEVEL, CheckedArm, twins
from analysis.evidence import EditCredit, evidence
from analysis.evidence_text import quoted
from analysis.scales import UNIT
from analysis.study import open_study
from analysis.tables import rows, statement
from analysis.trust import findings_line
from arena.public import public_lines
from arena.study import Study
from inner_loop.behaviour import inert_directives, resolved_ideas
from meta.confirmation import FINAL, LOOKS
from meta.transfer_page import tasks_of, together
from meta.verdict import Champion
from programs.diff import Diff, diff
from programs.program import Program
from programs.text import one_line
from trainer.edits import Edit
from trainer.freshness import SAID, freshness
from trainer.task import Task

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TEMPLATES = Path(__file__).parent / "templates"


def evidence_page(study: Study, champion: Champion) -> str:
    """The page as markdown. Every figure on it is a row of a view, named by its id."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "interval": interval, "line": line, "cell": cell, "verb": verb, "mean": decision_text.interval,
    }  # fmt: skip
    tasks = homes(study)
    with open_study(study.folder) as con:
        standings = rows(con.execute("SELECT * FROM standings ORDER BY match_id, gain DESC"))
        purpose = dict(con.execute("SELECT match_id, purpose FROM matches").fetchall())
        path = steps(study, champion.program, con)
        plans = ideas(study, champion.program, con)
        best = statements(con, champion.program)
        abroad, over = tasks_of(con, champion), together(con, champion)
        counts = rows(con.execute("SELECT kind, count(*) AS n FROM findings GROUP BY kind ORDER BY kind"))
    return environment.get_template("champion.evidence.md.j2").render(
        champion=champion, claim=champion.claim, decision=champion.decision, say=decision_text, level=LEVEL,
        config=study.config,
        unit=UNIT if champion.claim.tasks else study.task.unit,
        confirmed=[row for row in standings if confirming(row["match_id"], purpose, champion)],
        twins=[decision_text.check(found) for task in tasks if (found := twins([
            CheckedArm.of(row | {"unit": task.unit})
            for row in standings
            if purpose[row["match_id"]] == "race" and row["task"] == task.name
        ]))],
        steps=path, ideas=plans, statements=best, inert=len(inert_everywhere(champion.program, tasks)),
        directives=len(champion.program.directives), folder=shlex.quote(str(study.folder)),
        fresh=[f"{task.name}: {SAID[freshness(task)]}" for task in tasks],
        findings=findings_line(counts, str(study.folder)), public=public_lines(study),
        abroad=abroad, over=over, stream=LOOKS[champion.decision.look][1],
        one_line=any(row["role"] == "one-line" for row in standings),
    )  # fmt: skip


def steps(study: Study, program: Program, con: DuckDBPyConnection) -> list[dict[str, Any]]:
    """The mutations from the oldest ancestor to ``program``: diff, credit, and the facts each was written from.

    The facts are as they stood when the child was written: later tries of an edit start from better sources.
    """
    made = {m.child_id: m for m in study.state.mutations if m.accepted}
    credit = rows(con.execute("SELECT * FROM credit WHERE method = 'mutation'"))
    at_home = {task.name for task in homes(study)}
    chain: list[dict[str, Any]] = []
    child = program.program_id
    while child in made:
        mutation = made[child]
        parents = [study.program(p) for p in mutation.parent_ids]
        known = edit_facts(con, study, mutation.generation - 1)
        chain.insert(0, {
            "child": study.program(child), "parents": parents, "mutation": mutation,
            "change": changes(diff(parents[0], study.program(child))),
            "credits": [row for row in credit if row["child_id"] == child and row["task"] in at_home],
            "facts": [fact for fact in known if fact.credit_id in mutation.evidence_ids],
        })  # fmt: skip
        child = parents[0].program_id
    return chain


def edit_facts(con: DuckDBPyConnection, study: Study, generation: int | None) -> tuple[EditCredit, ...]:
    """What single edits had earned by the end of ``generation`` (None: by now), without the confirmation; of each
    home task, in its own unit."""
    confirming = [m for m, event in study.state.matches.items() if event.purpose in FINAL]
    found = [evidence(con, task.name, exclude_matches=confirming, until_generation=generation) for task in homes(study)]
    return tuple(edit for facts in found for edit in facts.edits)


def homes(study: Study) -> list[Task]:
    return [study.task, *(Task.load(away.task) for away in study.config.further)]


def inert_everywhere(program: Program, tasks: Sequence[Task]) -> set[str]:
    """Ids of the directives that a scripted researcher follows on none of the tasks, or follows to no effect."""
    found = [{directive.directive_id for directive in inert_directives(program, task)} for task in tasks]
    return set.intersection(*found)


def changes(change: Diff) -> list[str]:
    """The diff as lines with + and -; the order of the ideas is told as such, not as its ids."""
    lines = [f"- {d.kind}: {line(d.text)}" for d in change.removed if d.kind != "order"]
    for old, new in change.changed:
        if new.kind != "order":
            lines += [f"- {old.kind}: {line(old.text)}", f"+ {new.kind}: {line(new.text)}"]
    lines += [f"+ {d.kind}: {line(d.text)}" for d in change.added if d.kind != "order"]
    moved = any(new.kind == "order" for _, new in change.changed) or any(
        d.kind == "order" for d in (*change.added, *change.removed)
    )
    return [*lines, "  (the ideas stand in another order)"] if moved else lines


def ideas(study: Study, program: Program, con: DuckDBPyConnection) -> list[dict[str, Any]]:
    """The ideas that a home task can carry out, each with what its single edit earned there over the search."""
    facts = edit_facts(con, study, None)
    found = []
    for task in homes(study):
        earned = {(fact.knob.lower(), str(fact.value)): fact for fact in facts if fact.task == task.name}
        found += [
            {"task": task.name, "text": idea.text, "credit": single(edit, earned)}
            for idea, edit in resolved_ideas(program, task)
        ]
    return found


def statements(con: DuckDBPyConnection, program: Program) -> list[dict[str, Any]]:
    """The best row of credit of each directive of the program that has one, in the order of its text."""
    found = {row["directive_id"]: row for row in rows(con.execute(statement("best_credit"), [program.program_id]))}
    return [found[d.directive_id] for d in program.directives if d.directive_id in found]


def verb(fact: EditCredit) -> str:
    """Causal words for randomised and paired designs only."""
    return "earned" if fact.causal else "went with"


def single(edit: Edit, earned: Mapping[tuple[str, str], EditCredit]) -> EditCredit | None:
    """The fact about an edit that changes one thing; None for those that change several, and for untried ones."""
    parts = [(name.lower(), str(value)) for name, value in edit.set.items()]
    parts += [(name.lower(), "True") for name in edit.apply]
    return earned.get(parts[0]) if len(parts) == 1 else None


def confirming(match_id: str, purpose: Mapping[str, str], champion: Champion) -> bool:
    """Whether the decision was made from this match; a decision of an older version does not name its matches."""
    matches = champion.decision.match_ids
    return match_id in matches if matches else purpose[match_id] == "confirmation"


def interval(row: Any, name: str = "estimate") -> str:
    """``0.12 [0.08, 0.16]``, or the bare figure where one run gives no interval."""
    get = row.get if isinstance(row, Mapping) else lambda key: getattr(row, key)
    if get("low") is None:
        return f"{get(name):.4g}"
    return f"{get(name):.4g} [{get('low'):.4g}, {get('high'):.4g}]"


def line(text: str) -> str:
    """A program's own words on one line, where they can end neither a table's cell nor a fenced block."""
    return one_line(text).replace("|", "\\|").replace("~~~", "~ ~ ~")


def cell(text: str) -> str:
    """The same as inline code, where nothing in it is markdown or HTML."""
    return quoted(text).replace("|", "\\|")
