"""``metaloop run``: one program, one task, one seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from analysis.trust import gain_name
from analysis.wording import many, plain_number
from meta.cli import launch, render, resolve, spend, trust
from meta.cli.flags import ModelFlags, PlayingFlags, ProgramOrNone, StartFlags, StudyFlags
from meta.cli.launch import LaunchSettings
from meta.cli.match import create, plan_of, recorded_entries, resume
from meta.cli.options import duration, verb, without
from meta.cli.output import Output
from meta.cli.researcher_choice import ResearcherChoice
from programs.errors import UsageError
from programs.text import word_list

RUN = """
SELECT r.* EXCLUDE (started_at, ended_at), m.unit FROM runs AS r JOIN matches AS m USING (match_id)
WHERE r.match_id = ? ORDER BY r.started_at DESC LIMIT 1
"""
KEPT = """
SELECT number, experiment_id, metric, gain, description FROM experiments
WHERE run_id = ? AND decision IN ('baseline', 'keep') ORDER BY number
"""
PASSED_OVER = """
SELECT e.number, e.metric, e.gain, r.claimed_gain FROM experiments AS e JOIN runs AS r USING (run_id)
WHERE run_id = ? AND r.researcher LIKE 'command:%' AND e.status = 'ok' AND e.fraction = 1 AND e.decision = 'discard'
  AND e.gain > coalesce(r.claimed_gain, 0) ORDER BY e.gain DESC LIMIT 1
"""

SHOWN = word_list("""
    task tried kept device_seconds_charged claimed_best claimed_gain verified_gain trust
""")


@verb(
    ("metaloop run stock", "a starter on the default task"),
    ("metaloop run my/program.md -t tinylm -b 60s", "your program, one minute of device time"),
    ("metaloop run --resume studies/NAME", "resume a run that was stopped"),
)
def run(
    out: Output,
    program: ProgramOrNone,
    which: StudyFlags,
    playing: Annotated[PlayingFlags, without("workers", "runs_per_device")],
    models: ModelFlags,
    start: StartFlags,
) -> None:
    """Run one program once: the researcher edits train.py, trains, and keeps or
    discards the edit until the budget is spent. Then the final train.py is trained
    again on fresh seeds to verify its gain."""
    from arena.arms import Entry
    from arena.standalone import play_entries

    settings = LaunchSettings.of(which, replace(playing, workers=1), start, ResearcherChoice.of(models, yes=start.yes))
    folder = settings.existing(out)
    study = resume(folder, settings) if folder else None
    if program is None and (study is None or study.config.command != "run"):
        raise UsageError("name a program", hint="metaloop run stock")
    entries = [Entry(resolve.one_program(program))] if program else recorded_entries(study) if study else []
    task = study.task if study else launch.load_task(settings.task)
    if study is None:
        settings.researcher_choice.refuse_inert(out, [entry.program for entry in entries], [task])
    plan = plan_of(task, 1, 1, settings, study)
    if settings.dry_run:
        launch.dry_run(out, plan)
        return
    settings.ready(out, task, study)
    if study is None:
        study = create(out, "run", task, entries, 1, settings)
    launch.announce(out, plan, study.folder)
    played = launch.drive(out, study.folder, "run", plan, lambda p: play_entries(study, entries, 1, p))
    present(out, study.folder, played.match_id)


def present(out: Output, folder: Path, match_id: str) -> None:
    """Show the result of the run: its claim, its verified gain on fresh seeds, and the edits it kept."""
    from rich.text import Text

    with resolve.connect(folder, []) as con:
        (row,) = resolve.fetch(con, RUN, [match_id])
        kept = resolve.fetch(con, KEPT, [row["run_id"]])
        passed_over = resolve.fetch(con, PASSED_OVER, [row["run_id"]])
        said = trust.lines(con, resolve.shown(folder), trust.IN_MATCH, trust.OF_MATCH, [match_id])
    row["tried"] = max(row["experiments"] - 1, 0)  # without the baseline
    if out.mode == "json":
        out.json({"study": resolve.shown(folder), **row, "kept_experiments": kept})
        return
    called = {"verified_gain": gain_name(row["trust"]).replace(" ", "_")} if out.mode == "person" else {}
    shown = {
        "study": resolve.shown(folder),
        "run_id": row["run_id"],
        "program": row["name"],
        **{called.get(name, name): row[name] for name in SHOWN},
        **({name: row[name] for name in ("tokens", "usd", "utilization")} if row["calls"] else {}),
        **({"reason": row["reason"]} if row["reason"] else {}),
    }
    words = {"device_seconds_charged": duration(row["device_seconds_charged"])}
    words |= {"tokens": spend.tokens(row["tokens"]), "usd": spend.dollars(row["usd"])}
    words |= {"utilization": f"{spend.share(row['utilization'])} of the time"}
    if out.mode == "person":
        out.show(Text(in_a_sentence(row)))
    out.thing(shown, shown=words)
    for line in kept if out.mode == "person" else ():
        metric, gain = plain_number(line["metric"], 4), plain_number(line["gain"], 4, sign=True)
        out.text(f"  {line['number']:>3}  {metric}  {gain}  {render.fit(line['description'] or '', 50)}")
    for remark in said:
        out.note(remark)
    for one in passed_over:
        better, taken = (plain_number(one[name] or 0, 4, sign=True) for name in ("gain", "claimed_gain"))
        out.note(f"the agent discarded experiment {one['number']}, which gained {better}, its result {taken}")
    name = resolve.typed(folder)
    out.next(
        f"metaloop show {resolve.short(row['run_id'])} -s {name}",
        "metaloop match PROGRAM PROGRAM  # one run shows little: compare programs over several",
    )


def in_a_sentence(row: Mapping[str, Any]) -> str:
    """What the run gained, as it was measured again, beside what the researcher saw."""
    if row["verified_gain"] is None:
        return f"{row['name']} on {row['task']}: {row['state']}, no {gain_name(row['trust'])}."
    verified, claimed = (plain_number(row[key], 3, sign=True) for key in ("verified_gain", "claimed_gain"))
    seeds = many(row["verified_seeds"], "fresh seed")
    return (
        f"{row['name']} gained {verified} {row['unit']} on {row['task']}: mean of {seeds}. By the scores that the "
        f"researcher saw it was {claimed}, of which the best of many tries is a part."
    )
