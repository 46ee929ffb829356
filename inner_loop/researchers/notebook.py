"""What the researchers of one organization share: the queue of ideas and their notes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from inner_loop.researchers.labels import Labelled
from programs.program import Program

NOTES = 40  # kept; fewer may fit into the state
IDEAS = 60  # most in the queue
CHANCES = 2  # turns that may ignore an idea before it is dropped


@dataclass
class QueuedIdea:
    """Labels are `d7` for the program's ideas and `q3` for the researchers' own."""

    label: str
    text: str
    by: str
    chances: int = CHANCES


@dataclass
class Notebook:
    """Changed only between experiments, in the order of turns, so that equal replies give equal notebooks."""

    queue: deque[QueuedIdea] = field(default_factory=deque)
    notes: list[str] = field(default_factory=list)
    in_hand: dict[int, QueuedIdea] = field(default_factory=dict)
    _own: int = 0

    @classmethod
    def of(cls, program: Program, labels: Labelled) -> Notebook:
        """Starts with the program's ideas, in their order."""
        by_id = {directive_id: label for label, directive_id in labels.ids.items()}
        ideas = [QueuedIdea(by_id[idea.directive_id], idea.text, "the program") for idea in program.ideas]
        return cls(deque(ideas))

    def hand_out(self, turn: int) -> QueuedIdea | None:
        """The next idea, reserved for that turn."""
        if not self.queue:
            return None
        idea = self.in_hand[turn] = self.queue.popleft()
        return idea

    def settle(self, turn: int, follows: tuple[str, ...]) -> None:
        """Remove an idea that was followed; move one that was not to the end, a few times."""
        idea = self.in_hand.pop(turn, None)
        if idea is None or idea.label in follows:
            return
        idea.chances -= 1
        if idea.chances > 0:
            self.queue.append(idea)

    def add(self, ideas: tuple[str, ...], by: str) -> None:
        for text in dict.fromkeys(ideas):
            known = any(idea.text == text for idea in (*self.queue, *self.in_hand.values()))
            if not known and len(self.queue) < IDEAS:
                self._own += 1
                self.queue.append(QueuedIdea(f"q{self._own}", text, by))

    def note(self, text: str) -> None:
        self.notes = [*self.notes, text][-NOTES:]
