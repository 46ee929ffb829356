"""The result of ``metaloop evolve`` and ``metaloop improve``: the verdict, its table, the files, the next commands."""

from __future__ import annotations

import shlex
from pathlib import Path

from analysis.verdict.decision import Decision
from analysis.verdict.verdict import VIEWS, Verdict, verdict_of
from analysis.wording import plain_text
from arena.settings import StudyConfig
from meta.cli import resolve
from meta.cli.output import Column, Output
from programs.safe_git import repository_above

LAST_CHAMPION = """
SELECT program_id, details ->> 'name' AS name, (details ->> 'holds')::BOOLEAN AS holds FROM champions
ORDER BY named_at DESC LIMIT 1
"""
TEXT_COLUMNS = ("program", "role", "95% interval", "champion minus it")


def show_study_result(out: Output, folder: Path, path: str | None = None, applies: bool = False) -> list[str]:
    """Show the verdict and the files of a study; returns the commands that go on from here. ``path``: the user's
    program, in a study that improves one. ``applies``: the result is committed next, so no command does that.
    """
    config, study = StudyConfig.read(folder / resolve.MARK), resolve.shown(folder)
    with resolve.connect(folder, VIEWS) as con:
        verdict = verdict_of(con)
        champion = resolve.fetch(con, LAST_CHAMPION)
    files = list_files(Path(study))
    if out.mode == "json":
        record = {"study": study, **(champion[0] if champion else {}), "researcher": config.researcher, "files": files}
        out.json(record | verdict.record())
        return []
    show_verdict(out, verdict, study, files)
    if verdict.decision is None:
        return []
    return next_commands(folder, config.task, path, is_worth_applying(verdict.decision) and not applies)


def show_verdict(out: Output, verdict: Verdict, study: str, files: dict[str, str]) -> None:
    """The verdict at a terminal or piped: what it rests on, the table, the sentences, what weakens it, the files."""
    doubts = "; ".join(verdict.doubts)
    table = [{key: plain_text(value) for key, value in row.items()} for row in verdict.table]
    keys = list(table[0]) if table else []
    headline, *sentences = map(plain_text, verdict.sentences)
    if out.mode == "plain":
        facts = {"study": study, "verdict": plain_text(verdict.headline), "cost": verdict.cost, "mind": doubts}
        out.thing({key: value for key, value in facts.items() if value})
        for sentence in sentences:
            out.thing({"found": sentence})
        out.thing(files)
        out.rows(table, [Column(key) for key in keys])
        return
    trust = f"; scores {verdict.trust}" if verdict.trust else ""
    out.text(f"\n{study}   {verdict.cost}{trust}\n")
    if table:
        wide = TEXT_COLUMNS[-1]
        out.rows(table, [Column(key, right=key not in TEXT_COLUMNS, wrap=key == "program", optional=key == wide)
                         for key in keys])  # fmt: skip
        out.text("")
    if doubts:
        sentences.insert(0, f"mind: {doubts}.")
    for sentence in (headline, *sentences):
        out.text(sentence)
    out.text("\n" + "\n".join(f"{name:10} {file}" for name, file in files.items()))


def list_files(study: Path) -> dict[str, str]:
    """What the study has written, by what it is."""
    files = {"champion": str(study / "champion.md"), "evidence": str(study / "champion.evidence.md")}
    if (study / "champion").is_dir():
        files["its files"] = str(study / "champion")
    if best := next(iter(sorted(study.glob("best*"))), None):
        files["train.py"] = str(best)
    return files


def is_worth_applying(decision: Decision) -> bool:
    """Whether ``--apply`` would commit something: the program, or a train.py of the first task, whose gain is above
    zero."""
    return decision.has_new_program or (decision.script is not None and not decision.added_nothing)


def next_commands(folder: Path, task: str, path: str | None, can_apply: bool) -> list[str]:
    """How to go on from a study on ``task`` (as study.toml names it): commit its result to the task's repository, read
    the report, give the champion to an agent of one's own, start a study from it."""
    name, commands = resolve.typed(folder), list[str]()
    if path and can_apply and Path(task).is_dir() and repository_above(Path(task)):
        commands.append(f"metaloop resume {name} --apply")
    commands.append(f"metaloop report {name}")
    if (folder / "champion.md").is_file():
        target = resolve.unused("champion-prose" if (folder / "champion").is_dir() else "champion-prose.md")
        commands.append(f"metaloop export {name} --for agent -o {target}")
    start = f"improve {shlex.quote(path)}" if path else "evolve"
    return [*commands, f"metaloop {start} --from {name}  # a new study that starts from its programs"]
