"""Part 4: what each run did: kept and discarded dots, crashes, running best, the noise band, where it really ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.report.model import Facts, Figure, Section, Table
from analysis.report.source import Answer
from analysis.report.standings import MARKS
from analysis.report.words import brief, count, many, number, places, short

# What became of an experiment, as one letter of the data on the page.
BASELINE, KEPT, DISCARDED, FAILED, ASIDE = "b", "k", "d", "x", "s"
LINES = {
    "champion": "champion",
    "program": "programs",
    "control": "controls (stock)",
    "without": "champion without its ideas",
}
ASIDE_DECISIONS = ("screen", "replicate", "confirm")


def section(facts: Facts) -> Section:
    if not facts.runs.rows:
        return Section("progress", "How the runs went", "No run has more than its baseline.")
    runs = [row["run_id"] for row in facts.runs.rows]
    points, final = facts.source.ask("points", runs=runs), facts.source.ask("final_metrics", runs=runs)
    data = courses(facts, points, final)
    lead = (
        "One dot is one experiment: the script was changed, trained and scored, and the change kept if it was better. "
        "Everything drawn here is what the researcher saw"
        + ("; the diamond is what the final script scores on fresh seeds." if final.rows else ", never measured again.")
    )
    answers = (facts.runs, points, final, facts.noise)
    drawn = (overview(facts, data, answers),) if len(data["runs"]) > 1 else ()
    return Section("progress", "How the runs went", lead, (*drawn, close_up(facts, data, answers)))


def courses(facts: Facts, points: Answer, final: Answer) -> dict[str, Any]:
    """The runs with their points ``[number, metric, letter, description]``, for both figures; embedded once."""
    by_run: dict[str, list[list[Any]]] = defaultdict(list)
    for row in points.rows:
        by_run[row["run_id"]].append([row["number"], row["metric"], letter(row), row["description"] or ""])
    ended = {row["run_id"]: row["metric"] for row in final.rows}
    noise = {(row["match_id"], row["stream"]): row["sd"] for row in facts.noise.rows}
    runs = [
        {
            "id": row["run_id"],
            "label": label(row, number_),
            "role": MARKS.get(row["role"] or "", "program"),
            "deciding": row["deciding"],
            "program": row["name"] or short(row["program_id"]),
            "final": ended.get(row["run_id"]),
            "sd": noise.get((row["match_id"], row["score_stream"])) or row["noise_sd"],
            "points": by_run[row["run_id"]],
        }
        for number_, row in _numbered(facts.runs.rows)
    ]
    direction = (facts.deciding or facts.matches.last).get("direction") or facts.runs.first.get("direction") or "lower"
    return {"unit": facts.unit, "metric": facts.measure, "direction": direction, "runs": runs, "shown": _median(runs)}


def letter(row: Mapping[str, Any]) -> str:
    if row["number"] == 0 or row["decision"] == "baseline":
        return BASELINE
    if row["status"] != "ok" or row["metric"] is None:
        return FAILED
    if row["decision"] in ASIDE_DECISIONS or row["fraction"] != 1.0:
        return ASIDE
    return KEPT if row["decision"] == "keep" else DISCARDED


def overview(facts: Facts, data: Mapping[str, Any], answers: tuple[Answer, ...]) -> Figure:
    shown = [run for run in data["runs"] if run["deciding"]] or data["runs"]
    what = f"{many(len(shown), 'run')} of {many(len({(run['program'], run['role']) for run in shown}), 'program')}"
    if facts.logs.rows:
        what = many(len(shown), "log")
    return Figure(
        name="courses",
        kind="courses",
        title=f"Best so far, run by run ({data['metric']})",
        caption=f"{what}; {data['direction']} is better. "
        + ("" if facts.logs.rows else "Runs of one program differ by luck alone: it is why one run proves nothing."),
        data={"of": "one-run"},
        table=run_table(facts),
        answers=answers,
        legend=tuple(
            (f"line-{role}", "logs" if facts.logs.rows else meaning)
            for role, meaning in LINES.items()
            if role in {r["role"] for r in shown}
        ),
    )


def close_up(facts: Facts, data: Mapping[str, Any], answers: tuple[Answer, ...]) -> Figure:
    known = [run["sd"] for run in data["runs"] if run["sd"]]
    whose = "repeated measurements in the log" if facts.logs.rows else "one unchanged script over training seeds"
    band = (
        f"The band is twice the spread (sd {brief(known[0], 2)}) of {whose}: a step smaller than the band may be noise."
        if known
        else "There is no measurement of the noise here, so no band can be drawn."
    )
    ended = any(run["final"] is not None for run in data["runs"])
    return Figure(
        name="one-run",
        kind="run",
        title=f"One run, close up ({data['metric']})",
        caption=f"{band} Values beyond the frame are drawn at its edge. Short looks and repeats are left out.",
        data=data,
        table=point_table(data),
        answers=answers,
        legend=(
            ("kept", "kept"),
            ("discarded", "discarded"),
            ("failed", "failed: crash, timeout or invalid"),
            ("best", "best so far, with the noise band"),
            *([("final", "the final script, trained again on fresh seeds")] if ended else []),
        ),
    )


def run_table(facts: Facts) -> Table:
    digits = places(_spread([row["verified_gain"] for row in facts.runs.rows]))
    titles = ("run", "program", "role", ">experiments", ">kept", ">claimed gain", ">verified gain", "trust")
    return Table.of(
        titles,
        [
            (
                short(row["run_id"]),
                row["name"] or short(row["program_id"]),
                row["role"] or "",
                count(row["experiments"]),
                count(row["kept"]),
                number(row["claimed_gain"], digits),
                number(row["verified_gain"], digits),
                row["trust"] or "",
            )
            for row in facts.runs.rows
        ],
    )


def point_table(data: Mapping[str, Any]) -> Table:
    """The run that is drawn first; page.js puts another in its place when one is chosen."""
    words = {BASELINE: "baseline", KEPT: "kept", DISCARDED: "discarded", FAILED: "failed", ASIDE: "aside"}
    run = data["runs"][data["shown"]]
    return Table.of(
        (">number", "what became of it", f">{data['metric']}", "what was tried"),
        [(count(point[0]), words[point[2]], brief(point[1], 5), point[3]) for point in run["points"]],
    )


def label(row: Mapping[str, Any], number_: int) -> str:
    role = f", {row['role']}" if row["role"] not in (None, "program") else ""
    gain = f", verified gain {brief(row['verified_gain'])}" if row["verified_gain"] is not None else ""
    return f"{row['name'] or short(row['program_id'])}{role}: run {number_}{gain}"


def _numbered(rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    """Each run with its number among those of its program and match."""
    seen: dict[Any, int] = defaultdict(int)
    out = []
    for row in rows:
        key = (row["match_id"], row["program_id"], row["role"])
        seen[key] += 1
        out.append((seen[key], row))
    return out


def _median(runs: Sequence[Mapping[str, Any]]) -> int:
    """The place of a typical run of the champion (of the first program, where there is none): not its luckiest."""
    best = [i for i, run in enumerate(runs) if run["role"] == "champion" and run["deciding"]]
    mine = best or [i for i, run in enumerate(runs) if run["program"] == runs[0]["program"] and run["deciding"]] or [0]
    return mine[len(mine) // 2]


def _spread(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return (max(found) - min(found)) / 10 if len(found) > 1 else None
