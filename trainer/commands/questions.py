"""What nothing decides when a task is made of a repository: open questions, all of them in one error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from programs.common.errors import UsageError

T = TypeVar("T")
NOISE = ("split", "rows=FILE", "n_rows=N", "exact", "unknown")  # answers about the noise of the validation rows
FORMS = {
    "command": '"python train.py"',
    "metric": "NAME",
    "direction": "lower|higher",
    "editable": "FILE",
    "seed": "FILE.py:NAME|--OPTION|none",
    "noise": "|".join(NOISE),
}


class Unknown(UsageError):
    """A field that nothing decides. ``choices``: what it may be, as far as that is known. ``questions``: this one, or
    all that are open; then the message has all of them, and the hint all their flags."""

    def __init__(self, name: str, message: str, choices: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint or f"--{name} {'|'.join(choices[:6]) or FORMS[name]}")
        self.field, self.choices = name, list(choices)
        self.questions = [self]


class OpenQuestions:
    """Collects questions while others can still be answered."""

    def __init__(self) -> None:
        self.found: list[Unknown] = []

    def answer(self, decide: Callable[[], T], otherwise: T) -> T:
        """What ``decide`` returns; ``otherwise`` where it raises Unknown, which is kept."""
        try:
            return decide()
        except Unknown as question:
            self.found.append(question)
            return otherwise

    def ask(self) -> None:
        """Raise Unknown if there are open questions."""
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            first = self.found[0]
            texts = "; ".join(f"({number}) {one.message}" for number, one in enumerate(self.found, 1))
            hints = " ".join(one.hint for one in self.found)
            together = Unknown(first.field, f"{len(self.found)} questions are open: {texts}", first.choices, hints)
            together.questions = list(self.found)
            raise together
