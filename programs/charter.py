"""The charter: the settings of a program that the harness carries out. The empty charter is the stock loop.

This is the only table of settings: the default of each, what it means, and the sentence that says it to a reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from programs.common.registry import Registry

VERSION = 1
PROPOSERS: Registry[Any] = Registry(
    "proposers", "inner_loop.proposers", ("start",), first=("queue", "random", "local", "tpe")
)
KEEP_RULES: Registry[Any] = Registry(
    "keep_rules", "inner_loop.keep", ("keep", "citations"), first=("better", "margin", "paired")
)
OTHERS = "other values"
CharterValue = str | float | tuple[str, ...] | dict[str, float]  # of a dotted field; also int, bool
Share = Annotated[float, Field(gt=0, le=1_000_000)]


def _setting(default: Any, meaning: str, says: str | Mapping[Any, str], **limits: Any) -> Any:
    """A field of the charter. ``says``: a sentence about the charter's values, one for each of a few values, or one
    for OTHERS; where it is empty, another sentence contains the value."""
    shown = str(default).lower() if isinstance(default, bool) else default or "empty" if default == () else default
    sentences = says if isinstance(says, Mapping) else {OTHERS: says}
    description = f"{meaning} Default {shown}."
    return Field(default=default, description=description, json_schema_extra={"says": {**sentences}}, **limits)


def _stock_proposers() -> dict[str, float]:
    return {"random": 1.0}


def _in_canonical_order(shares: dict[str, float]) -> dict[str, float]:
    # The written order of the shares has no meaning; equal charters must dump to equal text.
    known = PROPOSERS.built_in if shares.keys() <= set(PROPOSERS.built_in) else PROPOSERS.names
    return {name: float(shares[name]) for name in known if name in shares}


Shares = Annotated[dict[Annotated[str, AfterValidator(PROPOSERS.require)], Share], AfterValidator(_in_canonical_order)]
RULE = {
    "better": "Keep a change whenever its metric is better than the kept one, by however little, unless the bench calls"
    " the difference not resolved; else revert it.",
    "margin": "Keep a change only if its metric beats the kept one by more than {keep.margin:g} SD of the baseline's"
    " metric between training seeds; else revert it.",
    "paired": "Before you keep a change, train it and the kept version with the same {keep.pairs} fresh seeds,"
    " and keep it only if it is better on average; else revert it.",
    OTHERS: "Keep or revert each change by the rule {keep.rule}.",
}


class CharterPart(BaseModel):
    """Frozen and strict: no unknown keys, no strings for numbers, no infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Keep(CharterPart):
    rule: Annotated[str, AfterValidator(KEEP_RULES.require)] = _setting(
        "better",
        "When a candidate replaces the kept script: better = if its metric is better, on a task"
        " with a command by at least one standard error of the difference; margin = if it is"
        " better by keep.margin; paired = if it is better on average over fresh seeds on which both are trained.",
        RULE,
    )
    margin: float = _setting(
        1.0,
        "For rule margin: the smallest gain to keep, in standard deviations of the baseline's seed noise.",
        "",
        ge=0,
        le=100,
    )
    pairs: int = _setting(
        2, "For rule paired: number of fresh seeds on which both sources are trained.", "", ge=1, le=64
    )
    least: float = _setting(
        0.0,
        "Smallest gain to keep by any rule, in units of the metric.",
        "Keep a change only if it improves the metric by more than {keep.least:g}, in the metric's own units.",
        ge=0,
        le=1_000_000,
    )


class Screen(CharterPart):
    fraction: float = _setting(
        1.0,
        "Share of a full experiment's budget in a candidate's first, short training; 1 = no screening.",
        {
            1.0: "Give every experiment its full time at once, without a shorter first look.",
            OTHERS: "Run each candidate first with {screen.fraction:.0%} of the time of a full experiment.",
        },
        ge=0.01,
        le=1,
    )
    promote: float = _setting(
        0.25,
        "Share of a wave's candidates that get a full experiment after the screen.",
        "Of the candidates that got such a first look, give only the best {screen.promote:.0%} (at least one) a full"
        " experiment, and drop the others.",
        gt=0,
        le=1,
    )


class Charter(CharterPart):
    """How a run spends its budget. The defaults of all fields are the stock loop."""

    version: int = _setting(VERSION, "Version of the charter's format.", "", ge=1, le=VERSION)
    proposers: Shares = Field(
        default_factory=_stock_proposers,
        min_length=1,
        description="Sources of the next edit, with relative weights above 0: queue = the program's ideas in"
        " their order, random = one edit drawn from all, local = neighbours of kept values, tpe = values like those of"
        " the best experiments so far (tree-structured Parzen estimator), elite = crosses of the best"
        " scripts, or the name of an installed proposer. Default random: 1.0.",
        json_schema_extra={"says": {OTHERS: "{sources}"}},
    )
    keep: Keep = Field(default_factory=Keep, description="The rule that decides whether to keep a candidate.")
    replicates: int = _setting(
        1,
        "Training seeds per experiment; the mean metric counts.",
        {
            1: "Train each experiment with one seed.",
            OTHERS: "Train each experiment with {replicates} seeds; judge it by the mean.",
        },
        ge=1,
        le=64,
    )
    screen: Screen = Field(default_factory=Screen, description="A short first training of each candidate.")
    wave: int = _setting(
        1,
        "Candidates made from one parent before the keep rule is applied.",
        {
            1: "Decide on each candidate before you make the next.",
            OTHERS: "Make {wave} candidates from the same kept version, then decide which of them to go on with.",
        },
        ge=1,
        le=1000,
    )
    confirm: float = _setting(
        0.0,
        "Share of the run's budget reserved for measuring the best candidates again with fresh seeds at the end.",
        {
            0.0: "Spend the whole budget on the search.",
            OTHERS: "Keep the last {confirm:.0%} of the budget to run the best candidates again with fresh seeds; end"
            " with the one that is best then.",
        },
        ge=0,
        le=0.9,
    )
    no_repeat: bool = _setting(
        True,
        "Never try the same source twice in a run.",
        {True: "Never run the same code twice.", False: "The same code may be run again."},
    )
    avoid_failures: bool = _setting(
        False,
        "Never retry a value that crashed, timed out or ran out of memory.",
        {
            True: "Never try a value again that crashed, timed out or ran out of memory.",
            False: "A value that failed once may be tried again.",
        },
    )
    doubt_ideas: bool = _setting(
        False,
        "Follow the list of ideas less often the more of its ideas fail in this run: with probability "
        "(kept + 1) / (tried + 1), where the n-th that was tried counts 4/n.",
        {
            True: "The more ideas of the list fail, the less often take one from it.",
            False: "Take ideas from the list, however many of them fail.",
        },
    )
    focus: tuple[str, ...] = _setting(
        (),
        "Groups of edits that may be made; empty = all.",
        {(): "Any setting may be changed.", OTHERS: "Change only settings of these groups: {groups}."},
        strict=False,
    )
    simplicity: float = _setting(
        0.0,
        "Smallest gain per added line of source, in units of the metric.",
        {
            0.0: "The length of the code does not count.",
            OTHERS: "Each line that a change adds must gain {simplicity:g} units of the metric; removed lines count for"
            " it.",
        },
        ge=0,
        le=1_000_000,
    )
    history: int = _setting(
        20,
        "Number of experiments of its own run that an LLM researcher sees.",
        {
            0: "Decide without looking at the log of earlier experiments.",
            OTHERS: "Before each decision, read the log of your last {history} experiments.",
        },
        ge=0,
        le=10_000,
    )
    standups: int = _setting(
        1,
        "Number of experiments between stand-ups, where the LLM researchers of an organization see each"
        " other's notes; 1 = in every turn, 0 = never.",
        {
            0: "The roles never see each other's notes.",
            OTHERS: "The roles see each other's notes after every {standups} experiments.",
        },
        ge=0,
        le=10_000,
    )

    @property
    def has_queue(self) -> bool:
        """Whether the program's ideas are a proposer."""
        return "queue" in self.proposers

    def get(self, field: str) -> Any:
        """The value of a dotted field, e.g. ``screen.fraction``. Raises KeyError for an unknown one."""
        if field not in dict(fields()):
            raise KeyError(field)
        return attrgetter(field)(self)


def promoted(size: int, share: float) -> int:
    """How many of a wave are promoted: at least one."""
    return max(1, round(share * size))


def fields(model: type[BaseModel] = Charter, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every field that can be set, as (dotted name, pydantic field), in the order of the class."""
    for name, info in model.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from fields(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, info
