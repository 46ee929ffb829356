"""What a study shows at its end, by its kind: the verdict, the standings or the effects; and ``--apply``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.effects.factorial import SCORE
from analysis.effects.league import LEVEL as LEAGUE_LEVEL
from analysis.effects.league import league_test, scored_turns
from analysis.statistics import mean_interval
from analysis.verdict.decision import Decision
from analysis.verdict.verdict import VIEWS, Verdict, verdict_of
from analysis.wording import plain_text
from arena.study.settings import StudyConfig
from arena.study.study import Study
from inner_loop.agents.recipe import FOLLOWS, own_agent
from meta.cli import resolve, views
from meta.cli.credit import doubts
from meta.cli.flags import EndFlags
from meta.cli.output import Column, Output
from meta.cli.standings import show_standings
from meta.kinds.contract import StudyKind
from meta.kinds.plans import EvolvePlan, NightPlan, Plan
from meta.outcome.apply import NothingToApply, apply, repository_of
from programs.common.errors import NotFound, UsageError
from programs.common.safe_git import repository_above
from programs.common.text import one_line
from trainer.task import Task

ONE_SEED = "all runs share one run seed, so the effects are of that seed"
WHOLE = """
SELECT f.gain - u.gain AS gain FROM replays AS f JOIN replays AS u USING (ablation_id, seed)
WHERE f.run_id = $1 AND len(u.commits) = 0 AND list_sort(f.commits) = (
    SELECT list_sort(factors) FROM ablations WHERE run_id = $1 AND method = 'replay')
"""
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


def show_match_result(out: Output, study: Study, matches: Sequence[str]) -> list[str]:
    """Show the ``matches`` of a study, one on each task, by their ids; returns the commands that go on from it."""
    if len(matches) > 1:
        with resolve.connect(study.folder, ["transfer"]) as con:
            view = views.view("transfer")
            views.show(out, view.rows(con), view, extra={"study": resolve.shown(study.folder)})
    else:
        show_standings(out, study.folder, matches[0])
    study.follow()  # what the workers wrote
    name, (run_id, *others) = resolve.typed(study.folder), study.state.runs
    alone = [] if others else [f"metaloop show {resolve.short(run_id)} -s {name}"]
    return [*alone, f"metaloop report {name}", f"metaloop credit {name}", "metaloop ui"]


def show_league_result(out: Output, folder: Path) -> list[str]:
    """Show the programs that took turns, and what they show together; returns the commands that go on from it."""
    view = views.view("league")
    with resolve.connect(folder, ["league"]) as con:
        rows, test = view.rows(con), league_test(scored_turns(con))
    result: dict[str, object] = dict(asdict(test)) if test else {}
    is_shown = test is not None and test.p < LEAGUE_LEVEL
    result["verdict"] = "the programs differ" if is_shown else "no program is shown to differ from another"
    views.show(out, rows, view, extra={"study": resolve.shown(folder), **result})
    if out.mode != "json":
        out.thing(result)
    return [f"metaloop report {resolve.typed(folder)}", "metaloop ui"]


def show_ablation_result(out: Output, folder: Path, identity: str) -> list[str]:
    """Show the rows of an ablation; ``identity``: the match of a design, or a run. Returns the commands that go on."""
    view = views.view("credit")
    with resolve.connect(folder, ["credit", "standings"]) as con:
        rows = [row for row in view.rows(con, [None]) if identity in (row["match_id"], row["run_id"])]
        gains = [row["gain"] for row in resolve.fetch(con, WHOLE, [identity])]
        doubts(out, con)
        seeds = resolve.fetch(con, "SELECT count(DISTINCT run_seed) AS n FROM runs WHERE match_id = ?", [identity])
    if not rows:
        raise NotFound(f"nothing was estimated for {identity}", hint="metaloop credit STUDY --all")
    whole = effect_of_all(rows, gains) if rows[0]["method"] == "leave-one-out" else {}
    views.show(out, rows, view, extra={"study": resolve.shown(folder), **whole})
    if whole and out.mode != "json":
        out.thing(whole)
    elif seeds[0]["n"] == 1 and rows[0]["unit"] != SCORE:
        out.note(ONE_SEED)
    study = resolve.typed(folder)
    return [f"metaloop show {resolve.short(rows[0]['credit_id'])} -s {study}", f"metaloop credit {study}"]


def effect_of_all(rows: Sequence[Mapping[str, Any]], gains: Sequence[float]) -> dict[str, object]:
    """The gain of the final script over the untouched one, by its ``gains`` with each seed, and how many of its changes
    have an interval above 0, each for itself; ``corrected``: those with q below 0.05."""
    gain = mean_interval(gains)
    above = [row for row in rows if (row["low"] or 0.0) > 0.0]
    harmful = [one_line(row["label"]) for row in rows if (row["high"] or 0.0) < 0.0]
    return {
        "gain_of_all": gain.value, "low": gain.low, "high": gain.high, "unit": rows[0]["unit"], "seeds": gain.n,
        "changes": len(rows), "helpful": len(above), "harmful": ", ".join(harmful),
        "corrected": sum(row["q"] is not None and row["q"] < 0.05 for row in above),
    }  # fmt: skip


def refuse_early(ending: EndFlags, kind: StudyKind[Plan], task: Task) -> None:
    """Raise UsageError for what could not be done at the end, before anything is spent."""
    if ending.data_noise and not ending.apply:
        raise UsageError("--set data_noise=unknown is for --apply alone", hint="add --apply, or leave it out")
    if ending.apply and not kind.can_apply:
        raise UsageError(f"a study of the kind {kind.name} has nothing to apply", hint="leave out --apply")
    if ending.apply:
        with repository_of(task):
            pass


def apply_study(out: Output, study: Study, plan: Plan, unknown_noise: bool) -> list[str]:
    """Commit the champion and the best train.py, each if it is better; returns the commands that use the branch."""
    assert isinstance(plan, EvolvePlan | NightPlan)  # `refuse_early` has refused others
    study.look()
    try:
        applied = apply(study, plan.origin, plan.path, unknown_noise)
    except NothingToApply as nothing:
        out.note(f"no branch: {nothing.message}")
        return []
    for reason in applied.left_out:
        out.note(f"left out: {reason}")
    files = ", ".join(f"{name} as {path}" if name != path else path for name, path in applied.files.items())
    out.note(f"branch {applied.branch} in {applied.repository}: {files}; the working tree is unchanged")
    git, patch = f"git -C {resolve.typed(applied.repository)}", shlex.quote(f"{study.folder.name}.patch")
    commands = [f"{git} log -p HEAD..{applied.branch}", f"{git} switch {applied.branch}"]
    commands.append(f"{git} format-patch --stdout HEAD..{applied.branch} > {patch}  # with the messages")
    if program := applied.files.get("program"):
        config = study.config
        agent = own_agent(f"Read {program} and follow it", config.researcher, config.llm.agent)
        commands.append(f"{agent}  # {FOLLOWS}, in that branch")
    return commands
