"""A charter as sentences of its program, for a loop without Metaloop: whoever is told to read the program follows it.

One sentence for each field that is set, in the order of the charter, in a section of its own at the end of the text.
The section stands between two marks, so that writing it again replaces it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from programs.charter import Charter
from programs.charter_edit import charter_fields, settings_of
from programs.text import newline_of

START, END = "<!-- metaloop: charter as prose -->", "<!-- metaloop: end of charter -->"
HEADING = "## How experiments are conducted"
_SECTION = re.compile(rf"\s*^{re.escape(START)}$.*?^{re.escape(END)}$\s*", re.MULTILINE | re.DOTALL)
_SOURCES = {
    "queue": "the next idea of the list of ideas in this program, in its order",
    "random": "a random change of one setting",
    "local": "a small step from the value of one setting that is kept",
    "tpe": "values that look like those of the better half of the experiments so far",
    "recombine": "two changes that were kept before, joined",
}


def _proposers(value: Any, _: Charter) -> str:
    if len(value) == 1:
        return f"Take each next experiment from one place only: {_SOURCES[next(iter(value))]}."
    total = sum(value.values())
    parts = [f"in {100 * share / total:.3g}% of cases {_SOURCES[name]}" for name, share in value.items()]
    return f"Choose each next experiment as follows: {'; '.join(parts)}."


def _rule(value: Any, charter: Charter) -> str:
    return {
        "better": "Keep a change whenever its metric is better than the kept one, by however little; else revert it.",
        "margin": "Keep a change only if its metric beats the kept one by more than a margin of the seed noise;"
        " else revert it.",
        "paired": "Before you keep a change, train it and the kept version on the same fresh seeds, and keep it only if"
        " it is better on average over these pairs; else revert it.",
    }[value]  # fmt: skip


def _margin(value: Any, charter: Charter) -> str:
    when = "That margin is" if charter.keep.rule == "margin" else "Where you keep by a margin, it is"
    return f"{when} {value:g} standard deviations of the baseline's metric between training seeds."


def _pairs(value: Any, charter: Charter) -> str:
    when = "Use" if charter.keep.rule == "paired" else "Where you compare in pairs, use"
    return f"{when} {_count(value, 'fresh seed')} for such a comparison, the same for both versions."


def _fraction(value: Any, _: Charter) -> str:
    if value == 1:
        return "Give every experiment its full time at once, without a shorter first look."
    return f"Run each candidate first with {100 * value:.3g}% of the time of a full experiment."


def _promote(value: Any, _: Charter) -> str:
    return (
        f"Of the candidates that got such a first look, give only the best {100 * value:.3g}% (at least one) a full"
        " experiment, and drop the others."
    )


def _wave(value: Any, _: Charter) -> str:
    if value == 1:
        return "Decide on each candidate before you make the next."
    return f"Make {value} candidates from the same kept version, then decide which of them to go on with."


def _frontier(value: Any, _: Charter) -> str:
    if value == 1:
        return "Hold one kept version, the best, and start every candidate from it."
    return f"Hold the {value} best kept versions, each on a branch, and start candidates from any of them."


def _rewind(value: Any, _: Charter) -> str:
    if value == 0:
        return "Never go back to an earlier kept version."
    return f"After {_count(value, 'experiment')} in a row without improvement, go back to an earlier kept version."


def _confirm(value: Any, _: Charter) -> str:
    if value == 0:
        return "Spend the whole budget on the search."
    return (
        f"Keep the last {100 * value:.3g}% of the budget to run the best candidates again with fresh seeds; end with"
        " the one that is best then."
    )


def _focus(value: Any, _: Charter) -> str:
    if not value:
        return "Any setting may be changed."
    return f"Change only settings of these groups: {', '.join(_one_line(name) for name in value)}."


def _simplicity(value: Any, _: Charter) -> str:
    if value == 0:
        return "The length of the code does not count."
    return f"Each line that a change adds must earn {value:g} units of the metric; removed lines count for it."


def _history(value: Any, _: Charter) -> str:
    if value == 0:
        return "Decide without looking at the log of earlier experiments."
    return f"Before each decision, read the log of your last {_count(value, 'experiment')}."


#: of every field but ``version``, which is of the format and tells a reader nothing
_SENTENCES: dict[str, Callable[[Any, Charter], str]] = {
    "proposers": _proposers,
    "keep.rule": _rule,
    "keep.margin": _margin,
    "keep.pairs": _pairs,
    "replicates": lambda value, _: f"Run each experiment with {_count(value, 'training seed')}; judge it by the mean.",
    "screen.fraction": _fraction,
    "screen.promote": _promote,
    "wave": _wave,
    "branch.frontier": _frontier,
    "branch.rewind_after": _rewind,
    "confirm": _confirm,
    "no_repeat": lambda value, _: "Never run the same code twice." if value else "The same code may be run again.",
    "avoid_failures": lambda value, _: (
        "Never try a value again that crashed, timed out or ran out of memory."
        if value
        else "A value that failed once may be tried again."
    ),
    "focus": _focus,
    "simplicity": _simplicity,
    "history": _history,
}  # fmt: skip


def sentences(text: str) -> list[tuple[str, str]]:
    """(field, sentence) for each charter field that a program sets. ProgramError for a bad charter."""
    charter = settings_of(text).charter
    given = charter_fields(text)
    return [(field, say(given[field], charter)) for field, say in _SENTENCES.items() if field in given]


def with_prose(text: str) -> str:
    """The program with its charter as sentences; byte for byte the same where no field is set, or it is done already.

    The front matter stays: Metaloop can still carry the program out, and others pass over it.
    """
    said = sentences(text)
    if not said:
        return text
    newline = newline_of(text)
    rest = _SECTION.sub("\n\n", text.replace("\r\n", "\n")).rstrip("\n")
    lines = [START, HEADING, "", *(f"- {sentence}" for _, sentence in said), END]
    whole = rest + "\n\n" + "\n".join(lines) + "\n"
    return whole.replace("\n", newline)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _one_line(text: str) -> str:
    return " ".join(text.split())
