"""champion.evidence.md: what was confirmed, and for each change against the ancestors what supports it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.evidence import EditCredit, evidence, quoted
from analysis.study import open_study, rows, statement
from analysis.trust import findings_line, marked
from arena.study import Study
from inner_loop.behaviour import inert_directives, resolved_ideas
from meta.champion import FINAL, Champion
from meta.claim import LEVEL
from meta.transfer_page import tasks_of
from meta.verdict import figure
from programs.diff import Diff, diff
from programs.program import Program
from programs.text import one_line
from trainer.edits import Edit

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
    environment.filters |= {"interval": interval, "line": line, "cell": cell, "verb": verb, "mean": figure}
    with open_study(study.folder) as con:
        standings = rows(con.execute("SELECT * FROM standings ORDER BY match_id, gain DESC"))
        purpose = dict(con.execute("SELECT match_id, purpose FROM matches").fetchall())
        path = steps(study, champion.program, con)
        plans = ideas(study, champion.program, con)
        best = statements(con, champion.program)
        tasks = tasks_of(con, champion)
        counts = rows(con.execute("SELECT kind, count(*) AS n FROM findings GROUP BY kind ORDER BY kind"))
    return environment.get_template("champion.evidence.md.j2").render(
        champion=champion, claim=champion.claim, unit=study.task.unit, level=LEVEL, config=study.config,
        confirmed=[row for row in standings if purpose[row["match_id"]] == "confirmation"],
        twins=twins([row for row in standings if purpose[row["match_id"]] == "race"]),
        steps=path, ideas=plans, statements=best, inert=len(inert_directives(champion.program, study.task)),
        directives=len(champion.program.directives), folder=shlex.quote(str(study.folder)),
        tasks=tasks, doubt=marked(champion.trust), findings=findings_line(counts, str(study.folder)),
    )  # fmt: skip


def steps(study: Study, program: Program, con: DuckDBPyConnection) -> list[dict[str, Any]]:
    """The mutations from the oldest ancestor to ``program``: diff, credit, and the facts each was written from.

    The facts are as they stood when the child was written: later tries of an edit start from better sources.
    """
    made = {m["child_id"]: m for m in study.history.mutations if m["accepted"]}
    credit = rows(con.execute("SELECT * FROM credit WHERE method = 'mutation'"))
    chain: list[dict[str, Any]] = []
    child = program.program_id
    while child in made:
        mutation = made[child]
        parents = [study.program(p) for p in mutation["parent_ids"]]
        known = edit_facts(con, study, mutation["generation"] - 1)
        chain.insert(0, {
            "child": study.program(child), "parents": parents, "mutation": mutation,
            "change": changes(diff(parents[0], study.program(child))),
            "credit": next((row for row in credit if row["child_id"] == child), None),
            "facts": [fact for fact in known if fact.credit_id in mutation["evidence_ids"]],
        })  # fmt: skip
        child = parents[0].program_id
    return chain


def edit_facts(con: DuckDBPyConnection, study: Study, generation: int | None) -> tuple[EditCredit, ...]:
    """What single edits had earned by the end of ``generation`` (None: by now), without the confirmation."""
    confirming = [m for m, event in study.history.matches.items() if event["purpose"] in FINAL]
    facts = evidence(con, study.task.name, exclude_matches=confirming, until_generation=generation)
    return facts.edits


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
    """The ideas that this task can carry out, each with what its single edit earned over the study's search."""
    earned = {(fact.knob.lower(), str(fact.value)): fact for fact in edit_facts(con, study, None)}
    return [{"text": idea.text, "credit": single(edit, earned)} for idea, edit in resolved_ideas(program, study.task)]


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


def twins(race: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Stock and its A/A twin of the opening race."""
    pair = [row for role in ("control", "a/a") for row in race if row["role"] == role]
    return {"rows": pair, "spread": abs(pair[0]["gain"] - pair[1]["gain"])} if len(pair) == 2 else None


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
