"""The lineage of ideas: the entry in which each directive appeared first, and the entries that took it over.

A directive is `taken` if an earlier entry has the same one: the same set of edits and conditions, or, where it names
none, the same id. It is `changed` if the parent that the entrant named has one of similar text under the same heading
(`programs.diff`), else `new`: without a named parent, nobody changed anybody's text. The source is the parent, else the
earlier entry with the largest share of common directives. Directives of stock and of the example on the page on writing
are ignored: no entrant wrote them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict

from sqlalchemy import select

from arena.contest.example import example
from arena.contest.stored import IdeaColumns
from arena.contest.tables import Descent, EntryParent
from programs.diff import diff
from programs.directives import CHARTER, ORDER, Directive
from programs.program import Program
from programs.shelf import starter

if TYPE_CHECKING:
    from arena.contest.contest import Contest
    from arena.contest.standing import BoardViewRow
    from arena.study import Study

MOST_TEXT = 200  # stored characters of a directive
MOST_COMPARED = 60_000  # characters of a program whose directives are paired by text, which is slow


class Descents:
    """Computes the ideas of new entries, in order of arrival."""

    def __init__(self, contest: Contest, study: Study) -> None:
        self.contest, self.study = contest, study
        given = (starter("stock"), starter("local"), Program.parse(example(contest.task)))
        self._given = {d.directive_id for program in given for d in program.directives}
        self._first: dict[str, int] = {}
        self._held: dict[int, set[str]] = {}
        self._holders: dict[str, list[int]] = defaultdict(list)
        self._programs = {
            event.number: event.program_id for event in study.state.entries.values() if event.role == "program"
        }
        with contest.database.read() as connection:
            for descent in connection.scalars(select(Descent).order_by(Descent.number)).all():
                self._remember(descent.number, map(key_of, descent.ideas))

    def follow(self) -> int:
        """Process the new entries of the ledger; returns how many there were."""
        events = self.study.state.entries.values()
        new = [e for e in events if e.role == "program" and e.number not in self._held]
        if not new:
            return 0
        with self.contest.database.read() as connection:
            named = {row.number: row.parent for row in connection.scalars(select(EntryParent)).all()}
        made = []
        for event in sorted(new, key=lambda event: event.number):
            self._programs[event.number] = event.program_id
            program = self.study.program(event.program_id)
            made.append(self._descent(event.number, program, named.get(event.number)))
        self.contest.database.merge(made)
        return len(made)

    def _descent(self, number: int, program: Program, named: int | None) -> Descent:
        own = [d for d in program.directives if d.kind != ORDER and d.directive_id not in self._given]
        keys = edits_by_id(program)
        source = named or self._most_alike(number, {keys.get(d.directive_id, d.directive_id) for d in own})
        before = self._changed(named, program) if named else {}
        ideas = [self._idea(number, d, source, before.get(d.directive_id), keys.get(d.directive_id)) for d in own]
        self._remember(number, map(key_of, ideas))
        return Descent(number=number, source=source, named=named is not None, ideas=ideas)

    def _idea(
        self, number: int, directive: Directive, source: int | None, before: str | None, edits: str | None
    ) -> IdeaColumns:
        idea: IdeaColumns = {
            "directive_id": directive.directive_id,
            "heading": directive.heading,
            "kind": directive.kind,
            "text": directive.text[:MOST_TEXT],
        }
        if edits is not None:
            idea["edits"] = edits
        key = key_of(idea)
        first = min((n for n in self._holders[key] if n < number), default=None)
        if first is not None:
            held = source is not None and key in self._held.get(source, set())
            return {**idea, "how": "taken", "from": source if held else first, "first": first}
        if before is not None:
            return {**idea, "how": "changed", "from": source, "was": before[:MOST_TEXT]}
        return {**idea, "how": "new"}

    def _most_alike(self, number: int, own: set[str]) -> int | None:
        shared = Counter(other for d in own for other in self._holders[d] if other < number)
        return max(shared, key=lambda n: (shared[n] / len(own | self._held[n]), -n), default=None)

    def _changed(self, source: int, program: Program) -> dict[str, str]:
        """directive → the source's text of it; empty if either program is too long to pair."""
        if source not in self._programs:
            return {}
        other = self.study.program(self._programs[source])
        if max(len(other.document), len(program.document)) > MOST_COMPARED:
            return {}
        own, keys = self._held.get(source, set()), edits_by_id(other)
        return {
            new.directive_id: old.text
            for old, new in diff(other, program).changed
            if keys.get(old.directive_id, old.directive_id) in own
        }

    def _remember(self, number: int, keys: Iterable[str]) -> None:
        self._held[number] = set(keys)
        for key in self._held[number]:
            self._holders[key].append(number)


def edits_by_id(program: Program) -> dict[str, str]:
    """Directive → its edits and conditions in alphabetical order: the words around them say the same in other words."""
    return {
        idea.directive_id: " ".join(
            sorted({"".join(word.split()) for word in (*idea.terms, *map(str, idea.conditions))})
        )
        for idea in program.ideas
        if idea.terms
    }


def key_of(idea: IdeaColumns) -> str:
    """Equal for directives that count as the same."""
    return idea.get("edits", idea["directive_id"])


MOST_NODES, MOST_IDEAS, MOST_TAKERS, MOST_EDGES = 60, 100, 12, 3  # on the page; edges per entry


LineageEdge = TypedDict("LineageEdge", {"from": int, "taken": int, "changed": int})


class LineageEntry(TypedDict):
    """An entry with its counts of directives other than settings, and the earlier entries that it took most from."""

    number: int
    source: int | None
    named: bool
    new: int
    taken: int
    changed: int
    gain: float | None
    low: float | None
    high: float | None
    n: int
    edges: list[LineageEdge]
    void: NotRequired[bool]
    result: NotRequired[str]  # of the decision, of whose runs the gain then is; empty for who took no part


class SharedIdea(TypedDict):
    """A directive with its first entry, those that took it over, and those that changed it."""

    directive_id: str
    heading: str
    text: str
    first: int
    takers: list[int]
    changers: list[int]
    was: str | None
    of: int | None
    held: NotRequired[int]


class IdeaLineage(TypedDict):
    nodes: list[LineageEntry]
    ideas: list[SharedIdea]
    entries: int
    left_out: int


def lineage(contest: Contest, board: Sequence[BoardViewRow]) -> IdeaLineage:
    """The data of the lineage page: entries in order of arrival, directives taken over, most widely used ideas.

    Limited to the best entries of the board and the ideas that most entries share.
    """
    gains = {row["number"]: row for row in board if row["role"] == "program"}
    with contest.database.read() as connection:
        descents = connection.scalars(select(Descent).order_by(Descent.number)).all()
    best = sorted(descents, key=lambda d: (-(_gain(gains, d.number) or -1e300), d.number))[:MOST_NODES]
    shown = {d.number for d in best}
    nodes = [_node(d, gains) for d in descents if d.number in shown]
    return {"nodes": nodes, "ideas": _ideas(descents), "entries": len(descents), "left_out": len(descents) - len(nodes)}


def _gain(gains: dict[int, BoardViewRow], number: int) -> float | None:
    return gains[number]["gain"] if number in gains else None


def _stated(descent: Descent) -> list[IdeaColumns]:
    """The ideas and other sentences: a setting is none."""
    return [idea for idea in descent.ideas if idea["kind"] != CHARTER]


def _node(descent: Descent, gains: dict[int, BoardViewRow]) -> LineageEntry:
    ideas = _stated(descent)
    how = Counter(idea["how"] for idea in ideas)
    froms: dict[int, Counter[str]] = defaultdict(Counter)
    for idea in ideas:
        if (source := idea.get("from")) is not None:
            froms[source][idea["how"]] += 1
    edges = sorted(froms.items(), key=lambda item: (-item[1].total(), item[0]))[:MOST_EDGES]
    row = gains.get(descent.number)
    return {
        "number": descent.number,
        "source": descent.source,
        "named": descent.named,
        "new": how["new"],
        "taken": how["taken"],
        "changed": how["changed"],
        "gain": row and row["gain"],
        "low": row and row["low"],
        "high": row and row["high"],
        "n": row["n"] if row else 0,
        "edges": [{"from": number, "taken": counts["taken"], "changed": counts["changed"]} for number, counts in edges],
    }


def _ideas(descents: Sequence[Descent]) -> list[SharedIdea]:
    """Each idea with its first entry and those that took it over or changed it, most widely used first."""
    ideas: dict[str, SharedIdea] = {}
    versions: dict[tuple[int | None, str], str] = {}  # (entry, text) → directive, to find the origin of a change
    for descent in descents:
        for idea in _stated(descent):
            key = key_of(idea)
            known = ideas.setdefault(
                key,
                {
                    "directive_id": idea["directive_id"],
                    "heading": idea["heading"],
                    "text": idea["text"],
                    "first": descent.number,
                    "takers": [],
                    "changers": [],
                    "was": idea.get("was"),
                    "of": idea.get("from"),
                },
            )
            if descent.number not in (known["first"], *known["takers"][-1:]):
                known["takers"].append(descent.number)
            versions[descent.number, idea["text"]] = key
            if idea["how"] == "changed":
                before = ideas.get(versions.get((idea["from"], idea["was"]), ""))
                if before is not None:
                    before["changers"].append(descent.number)
    ranked = sorted(ideas.values(), key=lambda i: (-len(i["takers"]) - len(i["changers"]), i["first"]))[:MOST_IDEAS]
    return [
        {
            **idea,
            "held": 1 + len(idea["takers"]),
            "takers": idea["takers"][:MOST_TAKERS],
            "changers": idea["changers"][:MOST_TAKERS],
        }
        for idea in ranked
    ]
