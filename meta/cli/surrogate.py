"""``metaloop surrogate``: predict a program's gain from its text, tested on held-out programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from meta.cli import resolve
from meta.cli.flags import AnyStudy
from meta.cli.options import verb
from meta.cli.output import Column, Output
from programs.errors import NotFound

if TYPE_CHECKING:
    from analysis.surrogate import HeldOutProgram, Skill

COLUMNS = [
    Column("name", "program"),
    Column("program_id", "id"),
    Column("predicted", "predicted"),
    Column("gain", "measured"),
]


@verb(
    ("metaloop surrogate studies/NAME", "predicted and measured gains of held-out programs"),
    ("metaloop surrogate studies/NAME --json", "with the rank correlation and its interval"),
)
def surrogate(out: Output, study: AnyStudy) -> None:
    """Fit a small statistical model that predicts a program's gain from its charter (settings)
    and directives (sentences). Report how well it ranks programs that were left out of the
    fit."""
    from analysis.surrogate import known_programs, skill

    folder = resolve.study_folder(study, out)
    skills: list[tuple[Skill, list[HeldOutProgram]]] = []
    with resolve.connect(folder, []) as con:
        tasks = [row["task"] for row in resolve.fetch(con, "SELECT DISTINCT task FROM matches ORDER BY task")]
        for task in tasks:
            measured, held = skill(task, known_programs(con, task))
            skills.append((measured, sorted(held, key=lambda h: -h.predicted)))
    if not skills:
        raise NotFound(f"{resolve.shown(folder)}: no program has run", hint="metaloop status shows its progress")
    if out.mode == "json":
        tasks_with_skill = [
            {**asdict(shown), "beats_chance": shown.beats_chance, "programs_held_out": list(map(asdict, held))}
            for shown, held in skills
        ]
        out.json({"study": str(folder), "tasks": tasks_with_skill})
        return
    for shown, held in skills:
        out.rows(map(asdict, held), COLUMNS)
        out.note(sentence(shown))


def sentence(skill: Skill) -> str:
    """The result in one line."""
    about = f"{skill.task}: {skill.programs} programs, {skill.held_out} held out one by one ({skill.parts})"
    if skill.correlation is None:
        return f"{about}; too few or too similar programs to measure how well gains can be predicted"
    verdict = "significantly better than chance" if skill.beats_chance else "not significantly better than chance"
    figures = f"{skill.correlation:.2f}, 95% interval {skill.low:.2f} to {skill.high:.2f}"
    return f"{about}; rank correlation {figures}: {verdict}"
