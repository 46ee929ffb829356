"""The tools with which a model searches traces. Files are looked up by name in a list, so no path leads elsewhere.

Everything is limited: one answer, all answers of a proposal together, the length of a line and of a pattern. Patterns
are matched by DuckDB's RE2 in time linear in the text, without backtracking. Results are data and fenced as such.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cache

from inner_loop.models.tools import Tool, ToolCall
from meta.mutators.llm.prompts import FOLDER, fenced
from meta.mutators.llm.traces import Trace
from programs.text import one_line

MOST_FILES = 120  # of a list
MOST_LINES, MOST_HITS = 200, 40
MOST_BYTES = 12_000  # of one answer
MOST_WIDTH = 400  # characters of a line
MOST_PATTERN = 200
READ_BYTES = 60_000  # of all answers to one proposal
NEAR = ("", "parent: ", "control: ", "related to a parent: ", "in a match with a parent: ")
_ENDED = "the reading limit of this proposal is reached: write your reply now"


class Misuse(Exception):
    """A wrong tool call; the message is for the model."""


@cache
def tools() -> tuple[Tool, ...]:
    return tuple(Tool(**each) for each in json.loads((FOLDER / "trace_tools.json").read_text("utf-8")))


def related(traces: Sequence[Trace], parents: Collection[str], parents_of: Collection[str] = ()) -> list[Trace]:
    """The traces that concern these parents, nearest first: general pages, parents, controls, children and siblings
    of the parents, programs of the same matches. ``parents_of``: the parents' own parents."""
    beside = frozenset[str]().union(*(t.matches for t in traces if t.program_id in parents))

    def nearness(trace: Trace) -> int | None:
        related_ids = {trace.program_id, *trace.parent_ids} & {*parents, *parents_of}
        near = (not trace.program_id, trace.program_id in parents, trace.control, related_ids, trace.matches & beside)
        return next((rank for rank, true in enumerate(near) if true), None)

    ranked = [(rank, number) for number, t in enumerate(traces) if (rank := nearness(t)) is not None]
    nearest = sorted(ranked)[:MOST_FILES]
    return [replace(traces[n], about=f"{NEAR[rank]}{traces[n].about}") for rank, n in nearest]


class Toolbox:
    """The tools over the traces of one proposal; counts the bytes read."""

    def __init__(self, traces: Sequence[Trace]) -> None:
        self._files = {trace.path: trace for trace in traces}
        self._left = READ_BYTES
        self._tools: dict[str, Callable[..., tuple[list[str], bool]]] = {
            "list_files": self._list,
            "search": self._search,
            "read": self._read,
        }

    def answer(self, call: ToolCall) -> tuple[str, str]:
        """The answer to a call: a text that is the same in every repetition of the study, and a volatile one."""
        if self._left <= 0:
            return _ENDED, ""
        try:
            lines, volatile = self._tools[call.name](**self._arguments(call))
        except Misuse as wrong:
            return f"error: {wrong}", ""
        except KeyError:
            return f"error: no tool {one_line(call.name)[:40]!r}; there are {', '.join(self._tools)}", ""
        text = self._fitted(lines)
        self._left -= len(text.encode())
        block = fenced(text, call.name)
        return (f"{len(lines)} lines of logs:\n", block) if volatile else (block, "")

    def _arguments(self, call: ToolCall) -> dict[str, str | int]:
        try:
            given = json.loads(call.arguments or "{}")
        except (ValueError, RecursionError):
            raise Misuse("the arguments are not JSON") from None
        if not isinstance(given, dict):
            raise Misuse("the arguments are not a JSON object")
        tool = next((tool for tool in tools() if tool.name == call.name), None)
        if tool is None:
            raise KeyError(call.name)
        known = tool.parameters["properties"]
        given = {name: value for name, value in given.items() if value is not None}
        for name, value in given.items():
            kind = int if known.get(name, {}).get("type") == "integer" else str
            if name not in known or not isinstance(value, kind) or isinstance(value, bool):
                takes = ", ".join(f"{name} ({about['type']})" for name, about in known.items())
                raise Misuse(f"{call.name} takes {takes}")
        missing = [name for name in tool.parameters.get("required", ()) if name not in given]
        if missing:
            raise Misuse(f"{call.name} needs {missing[0]}")
        return given

    def _below(self, path: str) -> list[Trace]:
        """The file, or the files of the folder, with that name."""
        wanted = path.strip().strip("/").removeprefix("./")
        if wanted in ("", "."):
            return list(self._files.values())
        if wanted in self._files:
            return [self._files[wanted]]
        below = [trace for name, trace in self._files.items() if name.startswith(f"{wanted}/")]
        if not below:
            raise Misuse(f"there is no file {one_line(path)[:80]!r}; list_files names them")
        return below

    def _list(self, folder: str = "") -> tuple[list[str], bool]:
        # a log's size is not shown: it differs in every repetition
        return [
            f"{t.path}: {one_line(t.about)}" + ("" if t.volatile else f", {len(t.text.splitlines())} lines")
            for t in self._below(folder)
        ], False

    def _read(self, path: str, first_line: int = 1, last_line: int | None = None) -> tuple[list[str], bool]:
        [trace, *more] = self._below(path)
        if more:
            raise Misuse(f"{one_line(path)[:80]} is a folder; list_files names its files")
        lines = trace.text.splitlines()
        first = max(first_line, 1)
        last = min(last_line or len(lines), len(lines), first + MOST_LINES - 1)
        if first > len(lines) and not trace.volatile:
            raise Misuse(f"{trace.path} has {len(lines)} lines")
        shown = [f"{n}: {_cut(lines[n - 1])}" for n in range(first, last + 1)]
        return [*shown, *([f"({len(lines) - last} more lines)"] if last < len(lines) else [])], trace.volatile

    def _search(self, pattern: str, path: str = "") -> tuple[list[str], bool]:
        if not pattern.strip() or len(pattern) > MOST_PATTERN:
            raise Misuse(f"the pattern must have 1 to {MOST_PATTERN} characters")
        among = self._below(path)
        if len({trace.volatile for trace in among}) > 1:  # logs are searched only when named
            among = [trace for trace in among if not trace.volatile]
        lines = [(t.path, n, _cut(line)) for t in among for n, line in enumerate(t.text.splitlines(), 1)]
        matching = _matching(pattern, [line for _, _, line in lines])
        hits = [f"{lines[i][0]}:{lines[i][1]}: {lines[i][2]}" for i in matching[:MOST_HITS]]
        if len(matching) > MOST_HITS:
            hits.append(f"({len(matching) - MOST_HITS} more lines match)")
        return hits or ["(no line matches)"], bool(among) and among[0].volatile

    def _fitted(self, lines: Sequence[str]) -> str:
        """As many lines as fit into one answer and into the rest of the total."""
        most, size = min(MOST_BYTES, self._left), 0
        for number, line in enumerate(lines):
            size += len(line.encode("utf-8", "replace")) + 1
            if size > most:
                return "\n".join([*lines[:number], f"(cut: {len(lines) - number} more lines)"])
        return "\n".join(lines)


def _cut(line: str) -> str:
    """A line with its spaces, which are part of a diff, and without characters that cannot be seen."""
    line = "".join(c if c.isprintable() else " " for c in line.expandtabs(4)).rstrip()
    return line if len(line) <= MOST_WIDTH else line[: MOST_WIDTH - 1] + "…"


def _matching(pattern: str, lines: Sequence[str]) -> list[int]:
    """Indices of the lines that match a pattern, in order."""
    import duckdb

    with duckdb.connect(":memory:", config={"threads": 1}) as con:
        con.execute("SET autoinstall_known_extensions = false")
        query = (
            "SELECT place - 1 FROM (SELECT unnest($lines) AS line, generate_subscripts($lines, 1) AS place) "
            "WHERE regexp_matches(line, $pattern, 'i') ORDER BY place"
        )
        try:
            hits = con.execute(query, {"lines": list(lines), "pattern": pattern}).fetchall() if lines else []
        except duckdb.Error:  # not a valid regular expression of RE2
            plain = pattern.casefold()
            return [index for index, line in enumerate(lines) if plain in line.casefold()]
    return [index for (index,) in hits]
