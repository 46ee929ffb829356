"""A study as training data: programs with their evidence and gain, preferences between programs, traces of models.

Three JSON-lines files. Figures have their interval, n and design, so that a training can weight them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.events import Event
from analysis.evidence import Evidence, evidence
from analysis.evidence_text import page
from analysis.ledger import read
from analysis.methods.mutation import SideRun, compare
from analysis.run_state import parsed
from analysis.statistics import interval
from analysis.study import ledger_folder, read_study
from analysis.tables import statement, typed_rows
from analysis.writing_events import MutationEvent
from inner_loop.events import CallEvent
from programs.errors import EnvironmentProblem

if TYPE_CHECKING:
    import duckdb
    from pydantic import JsonValue


@dataclass(frozen=True)
class ProgramOrigin:
    """A program's text, and where it came from."""

    program_id: str
    generation: int | None
    operator: str | None
    parent_ids: list[JsonValue]
    text: str


@dataclass(frozen=True)
class ComparedRun:
    match_id: str
    task: str
    purpose: str
    program_id: str
    run_seed: int
    gain: float


def dataset(study: Path | str, folder: Path | str) -> dict[Path, int]:
    """Write ``outcomes``, ``preferences`` and ``traces`` (.jsonl) into ``folder``; the number of rows of each file.

    Raises as read_study, and EnvironmentProblem if it cannot write.
    """
    target, ledger = Path(folder), ledger_folder(study)
    with read_study(study, views=()) as con:
        made = {"outcomes": outcomes(con), "preferences": preferences(con), "traces": traces(con, written(ledger))}
        paths = {name: target / f"{name}.jsonl" for name in made}
        return {path: write_rows(path, made[name]) for name, path in paths.items()}


def written(ledger: Path) -> Iterator[Event | None]:
    """The events about attempts at children."""
    return (parsed(record, ledger) for record in read(ledger) if record["kind"] in ("mutation", "call"))


def outcomes(con: duckdb.DuckDBPyConnection) -> Iterator[dict[str, JsonValue]]:
    """Per program and task: its text, the evidence page from which it was written, and the gain of its runs."""
    made = {row.program_id: row for row in typed_rows(con.execute("FROM programs"), ProgramOrigin)}
    # matches after the search have no generation, and no writer knew them
    later = con.execute("SELECT match_id FROM matches WHERE purpose NOT IN ('race', 'generation')").fetchall()
    search = {"exclude_matches": [match_id for (match_id,) in later]}
    for task in tasks_of(con):
        pages: dict[int, str] = {}
        for score in evidence(con, task).programs:
            program = made[score.program_id]
            generation = program.generation or 0
            if generation and generation not in pages:
                pages[generation] = page(evidence(con, task, until_generation=generation - 1, **search))
            yield {
                "program_id": score.program_id,
                "name": score.name,
                "task": task,
                "generation": generation,
                "operator": program.operator,
                "parent_ids": program.parent_ids,
                "program": program.text,
                "evidence": pages.get(generation),
                "gain": score.mean,
                "se": score.se,
                "low": score.low,
                "high": score.high,
                "n": score.n,
                "shrunk_gain": score.shrunk_mean,
                "shrunk_se": score.shrunk_se,
            }


def preferences(con: duckdb.DuckDBPyConnection) -> Iterator[dict[str, JsonValue]]:
    """Per pair of programs of a match: which gained more, by how much, with the 95% interval; ``sure``: it excludes 0.

    Paired if both ran on the same seeds, else by Welch. Each pair occurs once per match, the better program first.
    """
    texts = dict(con.execute("SELECT program_id, text FROM programs").fetchall())
    matches: dict[tuple[str, str, str], dict[str, list[ComparedRun]]] = defaultdict(lambda: defaultdict(list))
    for run in typed_rows(con.execute(statement("dataset_runs")), ComparedRun):
        matches[run.match_id, run.task, run.purpose][run.program_id].append(run)
    for (match_id, task, purpose), programs in matches.items():
        for one, other in combinations(programs, 2):
            both = (*programs[one], *programs[other])
            comparison = compare([SideRun(match_id, run.run_seed, run.program_id == one, run.gain) for run in both])
            if comparison is None or comparison[1] is None:
                continue
            estimate, se, df, n, design = comparison
            sign, chosen, rejected = (1, one, other) if estimate >= 0 else (-1, other, one)
            low, high = interval(sign * estimate, se, df)
            yield {
                "task": task,
                "match_id": match_id,
                "purpose": purpose,
                "chosen_id": chosen,
                "rejected_id": rejected,
                "chosen": texts[chosen],
                "rejected": texts[rejected],
                "difference": sign * estimate,
                "se": se,
                "low": low,
                "high": high,
                "n": n,
                "design": design,
                "sure": low is not None and low > 0,
            }


def traces(con: duckdb.DuckDBPyConnection, events: Iterable[Event | None]) -> Iterator[dict[str, JsonValue]]:
    """Per attempt at a child: the conversation with the model (prompt, tool rounds, reply), the child, and its gain
    over its parent (of two, one of them)."""
    texts = dict(con.execute("SELECT program_id, text FROM programs").fetchall())
    facts = [evidence(con, task) for task in tasks_of(con)]
    for event, reply in attempts(events):
        about = ("generation", "attempt", "operator", "model", "tokens", "usd", "accepted", "reason", "parent_ids")
        more = ("evidence_ids", "child_id", "meta_program_id", "repairs", "prompt")
        child, record = event.child_id if event.accepted else None, event.to_record()
        yield {
            **{name: record.get(name) for name in (*about, *more)},
            "turns": record.get("turns", []),
            "reply": reply,
            "messages": chat(event, reply),
            "parents": [texts.get(parent) for parent in event.parent_ids],
            "child": texts.get(child),
            "gains": _gains(facts, child),
        }


def attempts(events: Iterable[Event | None]) -> list[tuple[MutationEvent, str | None]]:
    """The attempts at children and the reply of the model that wrote each; of an attempt made again, the last one."""
    made: dict[tuple[int, int], MutationEvent] = {}
    replies: dict[int, str] = {}
    for event in events:
        if isinstance(event, MutationEvent):
            made[event.generation, event.attempt] = event
        elif isinstance(event, CallEvent) and not event.run_id and event.status != "failed":
            replies.setdefault(event.number, event.text)
    return [(event, None if event.call is None else replies.get(event.call)) for event in made.values()]


def chat(event: MutationEvent, reply: str | None) -> list[JsonValue]:
    """The conversation of a `mutation` event as messages of the OpenAI chat protocol; [] if no model answered."""
    if reply is None:
        return []
    said: list[JsonValue] = [{"role": m.role, "content": m.text} for m in event.prompt or ()]
    for turn in event.turns or ():
        ids = [f"call_{turn.call}_{n}" for n in range(len(turn.tools))]
        calls: list[JsonValue] = [
            {"id": i, "type": "function", "function": {"name": tool.name, "arguments": tool.arguments}}
            for i, tool in zip(ids, turn.tools, strict=True)
        ]
        said.append({"role": "assistant", "content": turn.text, "tool_calls": calls})
        for i, tool in zip(ids, turn.tools, strict=True):
            said.append({"role": "tool", "content": tool.result, "tool_call_id": i})
    return [*said, {"role": "assistant", "content": reply}]


def _gains(facts: Iterable[Evidence], child: str | None) -> list[JsonValue]:
    """The gain of a child over its parent (of two, one of them), task by task."""
    names = ("task", "estimate", "se", "low", "high", "n", "design", "p", "q", "shrunk", "shrunk_se", "unit")
    rows = (credit for known in facts for credit in known.mutations if credit.child_id == child)
    return [{name: getattr(credit, name) for name in names} for credit in rows]


def tasks_of(con: duckdb.DuckDBPyConnection) -> list[str]:
    return [task for (task,) in con.execute("SELECT DISTINCT task FROM matches ORDER BY task").fetchall()]


def write_rows(path: Path, made: Iterable[dict[str, JsonValue]]) -> int:
    """Writes atomically and replaces an existing file."""
    partial, count = path.with_name(f".{path.name}.partial"), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "w", encoding="utf-8") as file:
            for row in made:
                count += 1
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        partial.replace(path)
    except OSError as error:
        problem = error.strerror or str(error)
        raise EnvironmentProblem(f"{path}: {problem}", hint="name a folder that can be written") from None
    return count
