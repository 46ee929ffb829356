"""What nothing decides when a task is made of a repository: open questions, all of them in one error. One of them is
the noise of the validation rows (docs/night.md), `task init --noise`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from programs.common.errors import UsageError
from trainer.commands.repository import OwnRepository
from trainer.rows import held_rows
from trainer.task_file import ROW_FILES

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

_QUESTION = (
    "how noisy is it on other validation data? split: the command scores on other rows when asked; rows=FILE: it "
    "writes a value for each row; n_rows=N: it is an error or accuracy of N rows; exact: a count or size, the same on "
    "any data; unknown: then it stays open whether a gain holds on other data"
)
_MEANS = {
    "split": "a confirmation is on rows that chose nothing",
    "exact": "the same on any data",
    "unknown": "whether a gain holds on other data is not known",
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
            texts = "; ".join(f"({number}) {question.message}" for number, question in enumerate(self.found, 1))
            hints = " ".join(question.hint for question in self.found)
            together = Unknown(first.field, f"{len(self.found)} questions are open: {texts}", first.choices, hints)
            together.questions = list(self.found)
            raise together


def score_keys(noise: str | None) -> dict[str, Any]:
    """The keys of [score] of an answer. Raises Unknown for one that is none."""
    name, _, value = (noise or "unknown").partition("=")
    path = Path(value)
    if name == "rows" and value.endswith(ROW_FILES) and not path.is_absolute() and ".." not in path.parts:
        return {"rows": value}
    if name == "n_rows" and value.isdecimal() and int(value):
        return {"n_rows": int(value)}
    if value or name not in _MEANS:
        forms = f"FILE is in the repository and ends with {', '.join(ROW_FILES)}, N is at least 1"
        raise Unknown("noise", f"--noise {noise}: is not one of {', '.join(NOISE)}; {forms}", NOISE)
    return {"exact": True} if name == "exact" else {}


def takes_split(source: OwnRepository, commands: str) -> bool:
    """Whether the command gets which rows to use, as `trainer.task.Task.takes_split` has it for a task."""
    return "{split}" in commands or any("METALOOP_SPLIT" in source.text(name) for name in source.files)


def checked_noise(source: OwnRepository, noise: str | None, commands: str) -> str | None:
    """The answer, or ``split`` where the command takes it. Raises UsageError for one that contradicts the files."""
    has_split = takes_split(source, commands)
    keys = score_keys(noise)
    if noise == "split" and not has_split:
        message = "--noise split: the command has no {split}, and no file has METALOOP_SPLIT"
        raise UsageError(message, hint="docs/night.md shows the three lines for a script")
    if has_split and keys.get("exact"):
        raise UsageError("--noise exact: the command takes a split, so other data change it", hint="--noise split")
    return noise or ("split" if has_split else None)


def noise_fact(
    noise: str | None, values: Sequence[float], seed: str, timed: bool, rows: int, alike: bool = False
) -> tuple[str, str, str]:
    """(what is known; where from; what follows). ``values``: the metric of two runs, none if it is not known which
    number it is; ``rows``: of the file with a value for each; ``alike``: both runs print the same.

    Raises Unknown where it was not said and two runs give one number, or nothing changes the seed. A time has no rows.
    """
    if noise is None and not timed and (not seed or alike or len(set(values)) == 1):
        runs = f"two {'seeds' if seed else 'runs'}"
        seen = f"{runs} print the same" if alike else "it takes no seed"
        seen = f"{runs} give {values[0]:.6g}" if len(set(values)) == 1 else seen
        raise Unknown("noise", f"{seen}: {_QUESTION}", NOISE)
    if noise is None:
        return "unknown", "not asked", "intervals contain what differs between runs, on the same data"
    means = _MEANS.get(noise, "too few for a gain to be called better, unless it is far above their error")
    if rows:
        held = held_rows(rows)
        means = f"{rows:,} values a run, {f'{held:,} of them held back' if held else 'too few to hold some back'}"
    return noise, "found" if noise == "split" else "given", means
