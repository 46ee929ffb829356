"""The sentences that express charter fields. A sentence that was written from a value can be recognised again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

from programs.charter import Charter, PhaseValue, flat, nested

_SOURCES = {
    "queue": "the next idea of the list of ideas in this program, in its order",
    "random": "a random change of one setting",
    "local": "a small step from the value of one setting that is kept",
    "tpe": "values that look like those of the better half of the experiments so far",
    "recombine": "two changes that were kept before, joined",
    "elite": "a cross of the best scripts so far, or one of them with up to three settings changed",
}
_OF_PART = "what the proposer {} proposes"  # a plug-in's, or one without a sentence of its own
_PLAIN_NAME = re.compile(r"\w[\w+/-]*(?: \w[\w+/-]*)*")
_MARK = re.compile(r"\{(\w+)\}")
_PERHAPS_OUTSIDE = {"keep.margin": 1.0, "keep.pairs": 2}  # set outside the phases, so that no default holds in one
_AS_ELSEWHERE = "only the rules outside the phases"


@dataclass(frozen=True)
class Phrase:
    """``text`` has one slot (and ``{s}`` for a plural), or no slot; then the sentence expresses the value ``says``.

    ``rule``: used only with this keep rule; ``default_of``: only where this field of ``keep`` is not set, whose default
    the sentence states.
    """

    text: str
    says: Any = None
    rule: str = ""
    default_of: str = ""

    def fits(self, value: Any, charter: Charter) -> bool:
        if not self.slot:
            return bool(self.says == value) and self.default_of not in charter.keep.model_fields_set
        return self.rule in ("", charter.keep.rule) and (self.slot != "source" or len(value) == 1)

    def say(self, value: Any) -> str:
        plural = "" if value == 1 else "s"
        return _MARK.sub(lambda mark: plural if mark[1] == "s" else _SLOTS[mark[1]].write(value), self.text)

    @property
    def slot(self) -> str:
        return next((name for name in _MARK.findall(self.text) if name != "s"), "")


class _Slot(NamedTuple):
    write: Callable[[Any], str]
    pattern: str


@cache
def _pattern(text: str) -> re.Pattern[str]:
    parts = _MARK.split(text)  # text, name, text, name, …
    names = ("s?" if name == "s" else f"(?:{_SLOTS[name].pattern})" for name in parts[1::2])
    return re.compile("".join(f"{re.escape(said)}{name}" for said, name in zip(parts[::2], [*names, ""], strict=True)))


def _exact(value: float, shift: int = 0) -> str:
    """A number times 10^shift with all its digits, so that two values never have the same sentence."""
    number = Decimal(repr(float(value))).scaleb(shift).normalize()
    return format(number, "f") if -7 < number.adjusted() < 16 or not number else str(number).lower()


def _weighted(name: str, share: float) -> str:
    return f"{described(name)} (weight {_exact(share)})"


def _write_shares(shares: Mapping[str, float]) -> str:
    """The shares as percentages; if they do not add up to 1, each share follows as a weight."""
    if sum(Decimal(repr(float(share))) for share in shares.values()) == 1:
        return "; ".join(f"in {_exact(share, 2)}% of cases {described(name)}" for name, share in shares.items())
    total = sum(shares.values())
    parts = ((f"{100 * share / total:.3g}", _weighted(name, share)) for name, share in shares.items())
    return "; ".join(f"in {percent}% of cases {said}" for percent, said in parts)


def _write_source(shares: Mapping[str, float]) -> str:
    ((name, share),) = shares.items()
    return described(name) if share == 1 else _weighted(name, share)


def described(name: str) -> str:
    """What a proposer proposes, as the object of a sentence."""
    return _SOURCES.get(name) or _OF_PART.format(name)


def _write_names(names: tuple[str, ...]) -> str:
    """The names, separated by commas; quoted and escaped if they contain a comma, a line end or a backtick."""
    return ", ".join(name if _PLAIN_NAME.fullmatch(name) else _quoted(name) for name in names)


def _quoted(name: str) -> str:
    text = json.dumps(name)
    return text.replace("<", "\\u003c").replace("`", "\\u0060").replace("  ", "\\u0020\\u0020")


def _write_phases(phases: list[PhaseValue]) -> str:
    """The sentences of each phase, in quotation marks that no sentence contains."""
    parts: list[str] = []
    for phase in phases:
        until, own = phase.get("until"), {name: value for name, value in phase.items() if name != "until"}
        when = f"until {_exact(until, 2)}% of it is spent" if until else "from then on" if parts else "throughout"
        charter = Charter.model_validate(nested((_PERHAPS_OUTSIDE | flat(own)).items()))
        said = (say(field, charter.get(field), charter).removesuffix(".") for field in flat(own))
        parts.append(f"{when}, {' and '.join(f'“{sentence}”' for sentence in said) or _AS_ELSEWHERE}")
    return "; ".join(parts)


_NUMBER = r"\d+(?:\.\d+)?(?:e[+-]\d+)?"
_COUNT = "0|[1-9][0-9]*"
_SOURCE = rf"(?:{'|'.join(map(re.escape, _SOURCES.values()))}|{_OF_PART.format('[^;]+')})(?: \(weight {_NUMBER}\))?"
_SHARE = rf"in {_NUMBER}% of cases {_SOURCE}"
_SLOTS = {
    "number": _Slot(_exact, _NUMBER),
    "percent": _Slot(lambda value: _exact(value, 2) + "%", f"(?:{_NUMBER})%"),
    "count": _Slot(str, _COUNT),
    "word": _Slot(str, _PLAIN_NAME.pattern),
    "source": _Slot(_write_source, _SOURCE),
    "shares": _Slot(_write_shares, f"{_SHARE}(?:; {_SHARE})*"),
    "names": _Slot(_write_names, ".+"),
    "phases": _Slot(_write_phases, ".+"),
}

#: for every field except ``version``, which concerns only the format
PHRASES: dict[str, tuple[Phrase, ...]] = {
    "proposers": (
        Phrase("Take each next experiment from one place only: {source}."),
        Phrase("Choose each next experiment as follows: {shares}."),
    ),
    "keep.rule": (
        Phrase("Keep a change whenever its metric is better than the kept one, by however little; else revert it.",
               "better"),
        Phrase("Keep a change only if its metric beats the kept one by more than one standard deviation of the"
               " baseline's metric between training seeds; else revert it.", "margin", default_of="margin"),
        Phrase("Keep a change only if its metric beats the kept one by more than a margin of the seed noise; else"
               " revert it.", "margin"),
        Phrase("Before you keep a change, train it and the kept version on the same two fresh seeds, and keep it only"
               " if it is better on average over both; else revert it.", "paired", default_of="pairs"),
        Phrase("Before you keep a change, train it and the kept version on the same fresh seeds, and keep it only if it"
               " is better on average over these pairs; else revert it.", "paired"),
        Phrase("Keep or revert each change by the rule {word}."),
    ),
    "keep.margin": (
        Phrase("That margin is {number} standard deviation{s} of the baseline's metric between training seeds.",
               rule="margin"),
        Phrase("Where you keep by a margin, it is {number} standard deviation{s} of the baseline's metric between"
               " training seeds."),
    ),
    "keep.pairs": (
        Phrase("Use {count} fresh seed{s} for such a comparison, the same for both versions.", rule="paired"),
        Phrase("Where you compare in pairs, use {count} fresh seed{s} for such a comparison, the same for both"
               " versions."),
    ),
    "keep.least": (
        Phrase("Every improvement counts, however small.", 0.0),
        Phrase("Keep a change only if it improves the metric by more than {number}, in the metric's own units."),
    ),
    "replicates": (Phrase("Run each experiment with {count} training seed{s}; judge it by the mean."),),
    "screen.fraction": (
        Phrase("Give every experiment its full time at once, without a shorter first look.", 1.0),
        Phrase("Run each candidate first with {percent} of the time of a full experiment."),
    ),
    "screen.promote": (
        Phrase("Of the candidates that got such a first look, give only the best {percent} (at least one) a full"
               " experiment, and drop the others."),
    ),
    "wave": (
        Phrase("Decide on each candidate before you make the next.", 1),
        Phrase("Make {count} candidates from the same kept version, then decide which of them to go on with."),
    ),
    "branch.frontier": (
        Phrase("Hold one kept version, the best, and start every candidate from it.", 1),
        Phrase("Hold the {count} best kept versions, each on a branch, and start candidates from any of them."),
    ),
    "branch.rewind_after": (
        Phrase("Never go back to an earlier kept version.", 0),
        Phrase("After {count} experiment{s} in a row without improvement, go back to an earlier kept version."),
    ),
    "plateau.after": (
        Phrase("Go on in the same way, however long nothing is kept.", 0),
        Phrase("{count} experiment{s} in a row without a kept change are a plateau."),
    ),
    "plateau.then": (
        Phrase("At a plateau, leave alone the group of settings that was tried most in it, until something is kept or"
               " the next plateau comes.", "group"),
        Phrase("At a plateau, change several settings at once in the next experiment.", "several"),
    ),
    "rotate": (
        Phrase("Never change the same group of settings in two experiments in a row.", True),
        Phrase("Experiments in a row may change the same group of settings.", False),
    ),
    "confirm": (
        Phrase("Spend the whole budget on the search.", 0.0),
        Phrase("Keep the last {percent} of the budget to run the best candidates again with fresh seeds; end with the"
               " one that is best then."),
    ),
    "no_repeat": (Phrase("Never run the same code twice.", True), Phrase("The same code may be run again.", False)),
    "avoid_failures": (
        Phrase("Never try a value again that crashed, timed out or ran out of memory.", True),
        Phrase("A value that failed once may be tried again.", False),
    ),
    "doubt_ideas": (
        Phrase("The more ideas of the list fail, the less often take one from it.", True),
        Phrase("Take ideas from the list, however many of them fail.", False),
    ),
    "focus": (
        Phrase("Any setting may be changed.", ()),
        Phrase("Change only settings of these groups: {names}."),
    ),
    "simplicity": (
        Phrase("The length of the code does not count.", 0.0),
        Phrase("Each line that a change adds must earn {number} units of the metric; removed lines count for it."),
    ),
    "history": (
        Phrase("Decide without looking at the log of earlier experiments.", 0),
        Phrase("Before each decision, read the log of your last {count} experiment{s}."),
    ),
    "standups": (
        Phrase("The roles never see each other's notes.", 0),
        Phrase("The roles see each other's notes after every {count} experiment{s}."),
    ),
    "phases": (
        Phrase("Follow the same rules from the first experiment to the last.", []),
        Phrase("Change the rules as the budget is spent: {phases}."),
    ),
}  # fmt: skip


def say(field: str, value: Any, charter: Charter) -> str:
    """The sentence for a field. Raises KeyError for ``version`` and unknown fields."""
    return next(phrase for phrase in PHRASES[field] if phrase.fits(value, charter)).say(value)


def field_of(sentence: str) -> str:
    """The field of a sentence that `say` wrote, whatever the value; empty for another sentence."""
    matches = (
        field for field, phrases in PHRASES.items() if any(_pattern(p.text).fullmatch(sentence) for p in phrases)
    )
    return next(matches, "")


def expresses(sentence: str, field: str, value: Any) -> bool:
    """Whether `say` wrote this sentence from this value."""
    usable = (phrase for phrase in PHRASES[field] if phrase.slot != "source" or len(value) == 1)
    return any(phrase.say(value) == sentence for phrase in usable if phrase.slot or phrase.says == value)
