"""What the researchers of one organization share: the queue of ideas, their notes, the turns without experiment."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inner_loop.events import Experiment
from programs.ideas import addressed_to, split
from programs.program import Program
from programs.roles import Role, addressee
from trainer.edits import Edit, EditSpace, Value
from trainer.values.conditional import ConditionalEdit, read

NOTES, IDEAS = 40, 60  # the latest notes that are kept; the most ideas in the queue
LOST = 4  # turns in a row without an experiment, per researcher, that end the run
CHANCES = 2  # turns that may ignore an idea before it is dropped
NOT_KEPT = ("discard", "screen")  # decisions
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

    def suits(self, role: str, config: Mapping[str, Value], history: Sequence[Experiment] = ()) -> bool:
        """Whether it is for that role, and asks for something that a source with these values does not have yet and
        that no experiment of the run has tried in vain."""
        if self.role not in ("", role) or self.edit is None:
            return self.role in ("", role)
        edit = self.edit.on(config)
        return (
            edit is not None
            and not _has(config, edit)
            and not any(_in_vain(experiment, edit, history) for experiment in history)
        )


def _has(config: Mapping[str, Value], edit: Edit) -> bool:
    return all(config.get(name) == value for name, value in edit.set.items()) and all(map(config.get, edit.apply))


def _in_vain(record: Experiment, edit: Edit, history: Sequence[Experiment]) -> bool:
    """Whether an experiment brought in these values and was not kept."""
    tried = record.decision in NOT_KEPT and record.parent_number is not None and _has(record.config, edit)
    return tried and not _has(history[record.parent_number or 0].config, edit)


@dataclass(frozen=True)
class Note:
    """``after``: the number of experiments when it was written."""

    by: str
    text: str
    after: int

    def __str__(self) -> str:
        return f"{self.by}: {self.text}"


class Notes:
    """Changed only between experiments, in the order of turns, so that equal replies give equal notes. ``labels``:
    of the program's statements, to their ids. ``untried``: turns without an experiment, (after so
    many experiments, why).
    """

    def __init__(self, program: Program, labels: Mapping[str, str], space: EditSpace, among: Sequence[Role]) -> None:
        self.queue: deque[QueuedIdea] = deque()
        self.notes: list[Note] = []
        self.untried: list[tuple[int, str]] = []
        self._space, self._among = space, among
        self._own = 0  # ideas of the researchers
        self._known: set[str] = set()
        self._done: set[str] = set()  # labels of ideas that were followed or dropped
        label_of = {directive_id: label for label, directive_id in labels.items()}
        for idea in program.ideas:
            edit = read(space, idea.terms, idea.conditions)
            self._append(label_of[idea.directive_id], idea.text, "the program", idea.role, edit)

    def open_ideas(
        self, role: str, config: Mapping[str, Value], history: Sequence[Experiment] = ()
    ) -> list[QueuedIdea]:
        """The ideas that suit a role and a source with these values. The first one is that of the role's turn."""
        return [idea for idea in self.queue if idea.suits(role, config, history)]

    def settle(self, idea: QueuedIdea | None, follows: Sequence[str], dropped: Sequence[str] = ()) -> None:
        """After a turn: remove the ideas that it followed or dropped, of any role; move the turn's own, if it was
        not among them, to the end, a few times."""
        self._done.update(follows, dropped)
        self.queue = deque(other for other in self.queue if other.label not in self._done)
        if idea is not None and idea in self.queue:
            self.queue.remove(idea)
            idea.chances -= 1
            if idea.chances > 0:
                self.queue.append(idea)

    def add(self, ideas: Sequence[str], by: str) -> None:
        for text in ideas:
            if text not in self._known and len(self.queue) < IDEAS:
                self._own += 1
                edit = read(self._space, *split(_TERM.findall(text)))
                self._append(f"q{self._own}", text, by, addressed_to(text), edit)

    def note(self, by: str, text: str, after: int) -> None:
        """Add a note; a name of its own at its beginning is left out, because it is shown anyway."""
        own = text[len(by) + 1 :].strip() if by and text.casefold().startswith(f"{by.casefold()}:") else ""
        self.notes = [*self.notes, Note(by, own or text, after)][-NOTES:]

    def notes_for(self, role: str, standups: int, now: int) -> list[Note]:
        """The notes that a role has seen after ``now`` experiments: its own, and those of the others up to the last
        stand-up, one after each ``standups`` experiments; 1: in every turn, 0: never."""
        last = now // standups * standups if standups else 0
        return [n for n in self.notes if n.by == role or standups == 1 or n.after < last]

    def _append(self, label: str, text: str, by: str, wanted: str, edit: ConditionalEdit | None) -> None:
        to = addressee(wanted, self._among)
        self._known.add(text)
        self.queue.append(QueuedIdea(label, text, by, to.name if to else "", edit))
