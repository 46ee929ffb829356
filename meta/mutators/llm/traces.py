"""Raw traces of a study for models that write programs: a text for each run of the search, for each program, and the
untouched scripts; and the two tools with which a model reads them.

Everything follows from the ledger, so a repeated study has the same texts. Files are looked up by name in a list, so
no path leads elsewhere. Answers are limited; patterns are matched by DuckDB's RE2 in time linear in the text.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import duckdb
from pydantic import BaseModel, Field, ValidationError

from analysis.study import read_study
from analysis.tables import rows, statement
from arena.task_study import tasks_of
from inner_loop.models.scrub import scrub
from inner_loop.models.tools import Tool, ToolCall
from inner_loop.researchers.reply import BadEdit, parse
from meta.mutators.llm.templates import fenced, render
from programs.text import clipped, one_line, shortened

if TYPE_CHECKING:
    from arena.study import Study

Row = dict[str, Any]
MOST_FILE = 60_000  # bytes of a text
MOST_DIFF = 2_000  # bytes of an experiment's
MOST_FILES = 40  # that are listed
MOST_LINES, MOST_HITS, MOST_WIDTH = 200, 40, 400  # of one answer; characters of a line
MOST_BYTES, READ_BYTES = 12_000, 60_000  # of one answer, and of all answers to one proposal
CONTROLS = ("control", "a/a")
NEAR = ("", "parent: ", "control: ", "related to a parent: ", "in a match with a parent: ")
ENDED = "the reading limit of this proposal is reached: write your reply now"


@dataclass(frozen=True)
class Trace:
    """A text: its name, a description in one line. ``program_id`` is empty if it belongs to no program."""

    path: str
    about: str
    text: str
    program_id: str = ""
    matches: frozenset[str] = frozenset()
    parent_ids: tuple[str, ...] = ()
    control: bool = False


def gather(study: Study, generation: int) -> list[Trace]:
    """All traces for writing ``generation``."""
    stages = range(generation) if study.config.families else (0,)
    units = {on.task.name: on.task.unit for stage in stages for on in tasks_of(study, stage)}
    with read_study(study.folder, views=()) as con:
        at = {"tasks": [*units], "generation": generation}
        runs = rows(con.execute(statement("trace_runs"), at))
        these = {"runs": [run["run_id"] for run in runs]}
        tried = rows(con.execute(statement("trace_experiments"), these))
        why = _rationales(con.execute(statement("trace_calls"), these).fetchall())
    experiments: dict[str, list[Row]] = defaultdict(list)
    for row in tried:
        change = row["diff"] or json.dumps(row["edit"], ensure_ascii=False, default=str)
        experiments[row["run_id"]].append(row | {"change": clipped(change, MOST_DIFF).rstrip("\n")})
    traces = [*_scripts(study)]
    for run in runs:
        where = f" on {run['task']}" if len(units) > 1 else ""
        tries, unit = experiments[run["run_id"]], units[run["task"]]
        text = render("trace.txt.j2", run=run, experiments=tries, why=why, unit=unit, where=where)
        gain = "not verified" if run["verified_gain"] is None else f"verified gain {run['verified_gain']:.3g}"
        about = f"{run['name']}{where}, generation {run['generation'] or 0}, {gain}, {run['experiments']} experiments"
        traces.append(_of([run], f"runs/{run['program_id']}/{run['run_id']}.txt", about, text))
    by_program: dict[str, list[Row]] = defaultdict(list)
    for run in runs:
        by_program[run["program_id"]].append(run)
    for program_id, own in by_program.items():
        about = f"the text of {own[0]['name']}, generation {own[0]['born'] or 0}, {own[0]['operator']}"
        traces.append(_of(own, f"programs/{program_id}.md", about, own[0]["text"] or ""))
    return traces


def _of(runs: Sequence[Row], path: str, about: str, text: str) -> Trace:
    """A text about runs of one program."""
    first, matches = runs[0], frozenset(run["match_id"] for run in runs)
    parents, is_control = tuple(first["parent_ids"]), first["role"] in CONTROLS
    return Trace(path, about, clipped(scrub(text), MOST_FILE), first["program_id"], matches, parents, is_control)


def _scripts(study: Study) -> Iterable[Trace]:
    for on in tasks_of(study):
        for name, text in on.task.baseline().files:
            about = f"the untouched script of {on.task.name}"
            yield Trace(f"scripts/{on.task.name}/{name}", about, clipped(scrub(text), MOST_FILE))


def _rationales(calls: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """For chat researchers: the rationale of a reply (run, text), by run and by the title of its experiment."""
    rationales: dict[tuple[str, str], str] = {}
    for run_id, text in calls:
        try:
            answer = parse(text)
        except BadEdit:
            continue
        rationales.setdefault((run_id, answer.title), answer.rationale)
    return rationales


def related(traces: Sequence[Trace], parents: Collection[str]) -> list[Trace]:
    """The traces that concern these parents, nearest first: scripts, parents, controls, children and siblings of the
    parents, programs of the same matches."""
    above = {p for trace in traces if trace.program_id in parents for p in trace.parent_ids}
    beside = frozenset[str]().union(*(t.matches for t in traces if t.program_id in parents))

    def nearness(trace: Trace) -> int | None:
        related_ids = {trace.program_id, *trace.parent_ids} & {*parents, *above}
        near = (not trace.program_id, trace.program_id in parents, trace.control, related_ids, trace.matches & beside)
        return next((rank for rank, true in enumerate(near) if true), None)

    ranked = [(rank, number) for number, t in enumerate(traces) if (rank := nearness(t)) is not None]
    nearest = sorted(ranked)[:MOST_FILES]
    return [replace(traces[n], about=f"{NEAR[rank]}{traces[n].about}") for rank, n in nearest]


class Search(BaseModel, extra="forbid"):
    """Find lines that match a pattern, each with its file and line number. The pattern is a case-insensitive regular
    expression (RE2: no look-around, no back-references). An invalid one is searched for as plain text."""

    pattern: str = Field(min_length=1, max_length=200)
    path: str = Field(default="", description="a file or the beginning of several names; empty: all files")


class Read(BaseModel, extra="forbid"):
    """Read lines of one file, at most 200 per call."""

    path: str
    first_line: int = Field(default=1, ge=1)


class Toolbox:
    """The tools over the traces of one proposal; counts the bytes read."""

    def __init__(self, traces: Sequence[Trace]) -> None:
        self._files = {trace.path: trace for trace in traces}
        self._left = READ_BYTES
        forms: dict[str, type[BaseModel]] = {"search": Search, "read": Read}
        self.tools = tuple(
            Tool(name, " ".join((form.__doc__ or "").split()), form.model_json_schema()) for name, form in forms.items()
        )

    @property
    def names(self) -> list[str]:
        """A line for each file, nearest first."""
        return [f"{t.path}: {one_line(t.about)}, {len(t.text.splitlines())} lines" for t in self._files.values()]

    def answer(self, call: ToolCall) -> str:
        """The answer to a call; what is wrong with it, where something is."""
        if self._left <= 0:
            return ENDED
        given = call.arguments or "{}"
        try:
            if call.name == "search":
                lines = self._search(Search.model_validate_json(given))
            elif call.name == "read":
                lines = self._read(Read.model_validate_json(given))
            else:
                return f"error: no tool {one_line(call.name)[:40]!r}; there are search and read"
        except ValidationError as wrong:
            first = wrong.errors()[0]
            return f"error: {'.'.join(map(str, first['loc']))} {one_line(first['msg'])[:200]}"
        text = clipped("\n".join(_cut(line) for line in lines), min(MOST_BYTES, self._left))
        self._left -= len(text.encode("utf-8", "replace"))
        return fenced(text, call.name)

    def _search(self, asked: Search) -> list[str]:
        among = [t for name, t in self._files.items() if name.startswith(asked.path.strip().removeprefix("./"))]
        lines = [(f"{t.path}:{n}: ", line) for t in among for n, line in enumerate(t.text.splitlines(), 1)]
        hits = _matching(asked.pattern, [line for _, line in lines])
        more = [f"({len(hits) - MOST_HITS} more lines match)"] if len(hits) > MOST_HITS else []
        return [*("".join(lines[n]) for n in hits[:MOST_HITS]), *more] or ["(no line matches)"]

    def _read(self, asked: Read) -> list[str]:
        trace = self._files.get(asked.path.strip().removeprefix("./"))
        if trace is None:
            return [f"(there is no file {one_line(asked.path)[:80]!r})"]
        lines = [f"{n}: {line}" for n, line in enumerate(trace.text.splitlines(), 1)][asked.first_line - 1 :]
        more = len(lines) - MOST_LINES
        return [*lines[:MOST_LINES], *([f"({more} more lines)"] if more > 0 else [])]


def _cut(line: str) -> str:
    """A line with its spaces, which are part of a diff, and without characters that cannot be seen."""
    plain = "".join(c if c.isprintable() else " " for c in line.expandtabs(4))
    return shortened(plain.rstrip(), MOST_WIDTH)


def _matching(pattern: str, lines: Sequence[str]) -> list[int]:
    """Indices of the lines that match a pattern, in order."""
    query = (
        "SELECT place - 1 FROM (SELECT unnest($lines) AS line, generate_subscripts($lines, 1) AS place) "
        "WHERE regexp_matches(line, $pattern, 'i') ORDER BY place"
    )
    with duckdb.connect(":memory:", config={"threads": 1}) as con:
        con.execute("SET autoinstall_known_extensions = false")
        try:
            hits = con.execute(query, {"lines": list(lines), "pattern": pattern}).fetchall() if lines else []
        except duckdb.Error:  # not a valid regular expression of RE2
            plain = pattern.casefold()
            return [index for index, line in enumerate(lines) if plain in line.casefold()]
    return [index for (index,) in hits]
