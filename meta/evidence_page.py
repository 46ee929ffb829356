"""champion.evidence.md: what was confirmed, and for each change against the ancestors what supports it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.study import open_study, rows
from arena.study import Study
from inner_loop.behaviour import inert_directives, resolved_ideas
from meta.champion import LEVEL, Champion
from programs.diff import diff
from programs.program import Program

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
    environment.filters["interval"] = interval
    environment.filters["quoted"] = quoted
    with open_study(study.folder) as con:
        credit = {row["credit_id"]: row for row in rows(con.execute("SELECT * FROM credit ORDER BY credit_id"))}
        standings = rows(con.execute("SELECT * FROM standings ORDER BY match_id, gain DESC"))
        matches = rows(con.execute("SELECT match_id, purpose FROM matches"))
    purpose = {match["match_id"]: match["purpose"] for match in matches}
    return environment.get_template("champion.evidence.md.j2").render(
        champion=champion, claim=champion.claim, unit=study.task.unit, level=LEVEL, config=study.config,
        confirmed=[row for row in standings if purpose[row["match_id"]] == "confirmation"],
        twins=twins([row for row in standings if purpose[row["match_id"]] == "race"]),
        steps=steps(study, champion.program, credit), ideas=ideas(study, champion.program, credit),
        inert=len(inert_directives(champion.program, study.task)), directives=len(champion.program.directives),
        folder=study.folder,
    )  # fmt: skip


def steps(study: Study, program: Program, credit: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The mutations from the oldest ancestor to ``program``, each with its diff and the credit of the child."""
    made = {m["child_id"]: m for m in study.history.mutations if m["accepted"]}
    of_child = {row["child_id"]: row for row in credit.values() if row["method"] == "mutation"}
    chain: list[dict[str, Any]] = []
    child = program.program_id
    while child in made:
        mutation = made[child]
        parents = [study.program(p) for p in mutation["parent_ids"]]
        change = diff(parents[0], study.program(child))
        chain.insert(0, {
            "child": study.program(child), "parents": parents, "mutation": mutation, "change": change,
            "credit": of_child.get(child), "facts": [credit[i] for i in mutation["evidence_ids"] if i in credit],
        })  # fmt: skip
        child = parents[0].program_id
    return chain


def ideas(study: Study, program: Program, credit: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The ideas that this task can carry out, each with what its single edit earned over all runs."""
    earned = {row["label"].lower(): row for row in credit.values() if row["method"] == "edit"}
    return [
        {"text": idea.text, "credit": earned.get(edit.label().lower().lstrip("+"))}
        for idea, edit in resolved_ideas(program, study.task)
    ]


def twins(race: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Stock and its A/A twin of the opening race."""
    pair = [row for role in ("control", "a/a") for row in race if row["role"] == role]
    return {"rows": pair, "spread": abs(pair[0]["gain"] - pair[1]["gain"])} if len(pair) == 2 else None


def interval(row: Mapping[str, Any], name: str = "estimate") -> str:
    """``0.12 [0.08, 0.16]``, or the bare figure where one run gives no interval."""
    if row["low"] is None:
        return f"{row[name]:.4g}"
    return f"{row[name]:.4g} [{row['low']:.4g}, {row['high']:.4g}]"


def quoted(text: str) -> str:
    """A program's own words as one line of inline code, whatever they hold."""
    line = " ".join(text.split())
    fence = "`" * (1 + max((len(run) for run in line.split("`") if not run), default=0) + line.count("`"))
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"
