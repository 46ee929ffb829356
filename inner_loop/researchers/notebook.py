"""What the researchers of one organization share: the queue of ideas, their notes, the turns without experiment."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from inner_loop.record import Record
from inner_loop.researchers.labels import Labelled
from programs.ideas import addressed_to, split
from programs.program import Program
from programs.roles import Role, addressee
from trainer.edits import Edit, EditSpace, Value
from trainer.values.conditional import ConditionalEdit, read

NOTES = 40  # kept; fewer may fit into the state
IDEAS = 60  # most in the queue
TITLE = 8  # words
LOST = 4  # turns in a row without an experiment, per researcher, that end the run
CHANCES = 2  # turns that may ignore an idea before it is dropped
NOT_KEPT = ("discard", "screen")  # decisions
PROGRAM = "d"  # first letter of the labels of the program's ideas
_TERM = re.compile(r"`([^`\n]+)`")


@dataclass
class QueuedIdea:
    """Labels are `d7` for the program's ideas and `q3` for the researchers' own. ``role``: the only one that gets it;
    empty for all. ``edit``: what it asks for on this task, None if only a reader of the text knows."""

    label: str
    text: str
    by: str
    role: str = ""
    edit: ConditionalEdit | None = None
    chances: int = CHANCES

    @property
    def title(self) -> str:
        """The edits that it names, else its first words."""
        words, terms = self.text.split(), [f"`{term}`" for term in _TERM.findall(self.text)]
        return " ".join(terms or words[:TITLE]) + ("…" if not terms and len(words) > TITLE else "")

    def suits(self, role: str, config: Mapping[str, Value], history: Sequence[Record] = ()) -> bool:
        """Whether it is for that role, and asks for something that a source with these values does not have yet and
        that no experiment of the run has tried in vain."""
        return self.role in ("", role) and not self._waits(config, history)

    def _waits(self, config: Mapping[str, Value], history: Sequence[Record]) -> bool:
        if self.edit is None:
            return False
        edit = self.edit.on(config)
        return edit is None or _has(config, edit) or any(_in_vain(record, edit, history) for record in history)


def _has(config: Mapping[str, Value], edit: Edit) -> bool:
    return all(config.get(name) == value for name, value in edit.set.items()) and all(map(config.get, edit.apply))


def _in_vain(record: Record, edit: Edit, history: Sequence[Record]) -> bool:
    """Whether an experiment brought in these values and was not kept."""
    tried = record.decision in NOT_KEPT and record.parent is not None and _has(record.config, edit)
    return tried and not _has(history[record.parent or 0].config, edit)


@dataclass(frozen=True)
class Note:
    """``after``: the number of experiments when it was written."""

    by: str
    text: str
    after: int

    def __str__(self) -> str:
        return f"{self.by}: {self.text}"


@dataclass(frozen=True)
class IdleTurn:
    """A turn that led to no experiment, after so many experiments."""

    after: int
    text: str


@dataclass
class Notebook:
    """Changed only between experiments, in the order of turns, so that equal replies give equal notebooks."""

    space: EditSpace = field(default_factory=EditSpace)
    seats: Sequence[Role] = ()
    queue: deque[QueuedIdea] = field(default_factory=deque)
    notes: list[Note] = field(default_factory=list)
    idle: list[IdleTurn] = field(default_factory=list)
    in_hand: dict[int, QueuedIdea] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)  # labels of ideas that were followed or dropped
    _known: set[str] = field(default_factory=set)  # texts of all ideas so far
    _own: int = 0

    @classmethod
    def of(cls, program: Program, labels: Labelled, space: EditSpace, seats: Sequence[Role]) -> Notebook:
        """Starts with the program's ideas, in their order."""
        by_id = {directive_id: label for label, directive_id in labels.ids.items()}
        book = cls(space, seats)
        for idea in program.ideas:
            edit = read(space, idea.terms, idea.conditions)
            book._queued(by_id[idea.directive_id], idea.text, "the program", idea.role, edit)
        return book

    def hand_out(
        self, turn: int, role: str, config: Mapping[str, Value], history: Sequence[Record] = ()
    ) -> QueuedIdea | None:
        """The next idea that suits a role and a source with these values, reserved for that turn."""
        idea = next((idea for idea in self.queue if idea.suits(role, config, history)), None)
        if idea is not None:
            self.queue.remove(idea)
            self.in_hand[turn] = idea
        return idea

    def open_ideas(self, role: str, config: Mapping[str, Value], history: Sequence[Record] = ()) -> list[QueuedIdea]:
        """The ideas in the queue that the role may get."""
        return [idea for idea in self.queue if idea.suits(role, config, history)]

    def settle(self, turn: int, follows: Sequence[str], dropped: Sequence[str] = (), *, again: bool = False) -> None:
        """Remove the ideas that were followed or dropped, whichever turn had them; move the turn's own, if it was not,
        to the end, a few times. ``again``: what was followed could not be tried, so the idea is the next of the queue.
        """
        idea = self.in_hand.pop(turn, None)
        self._done.update(dropped, () if again else follows)
        if again and idea is not None:
            self.queue.appendleft(idea)
        self.queue = deque(other for other in self.queue if other.label not in self._done)
        if again or idea is None or idea.label in self._done:
            return
        idea.chances -= 1
        if idea.chances > 0:
            self.queue.append(idea)

    def add(self, ideas: Sequence[str], by: str) -> None:
        for text in ideas:
            if text not in self._known and len(self.queue) < IDEAS:
                self._own += 1
                edit = read(self.space, *split(_TERM.findall(text)))
                self._queued(f"q{self._own}", text, by, addressed_to(text), edit)

    def note(self, by: str, text: str, after: int) -> None:
        """Add a note; a name of its own at its beginning is left out, because it is shown anyway."""
        own = text[len(by) + 1 :].strip() if by and text.casefold().startswith(f"{by.casefold()}:") else ""
        self.notes = [*self.notes, Note(by, own or text, after)][-NOTES:]

    def notes_for(self, role: str, standups: int, now: int) -> list[Note]:
        """The notes that a role has seen after ``now`` experiments: its own, and those of the others up to the last
        stand-up, one after each ``standups`` experiments; 1: in every turn, 0: never."""
        last = now // standups * standups if standups else 0
        return [n for n in self.notes if n.by == role or standups == 1 or n.after < last]

    def _queued(self, label: str, text: str, by: str, wanted: str, edit: ConditionalEdit | None) -> None:
        to = addressee(wanted, self.seats)
        self._known.add(text)
        self.queue.append(QueuedIdea(label, text, by, to.name if to else "", edit))
