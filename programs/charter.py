"""The charter: the settings of a program that the harness carries out. The empty charter is the stock loop.

This is the only table of settings: the default of each, and the description that users, models and agents read.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from programs.common.registry import Registry

VERSION = 1
PROPOSERS: Registry[Any] = Registry(
    "proposers", "inner_loop.scripted.proposers", ("start",), first=("queue", "random", "local", "tpe")
)
KEEP_RULES: Registry[Any] = Registry(
    "keep_rules", "inner_loop.scripted.keep", ("keep",), first=("better", "margin", "paired")
)
Share = Annotated[float, Field(gt=0, le=1_000_000)]


def _setting(default: Any, meaning: str, **limits: Any) -> Any:
    """A field of the charter, whose description ends with its default."""
    shown = str(default).lower() if isinstance(default, bool) else default or "empty" if default == () else default
    return Field(default=default, description=f"{meaning} Default {shown}.", **limits)


def _in_canonical_order(shares: dict[str, float]) -> dict[str, float]:
    # The written order of the shares has no meaning; equal charters must dump to equal text.
    known = PROPOSERS.built_in if shares.keys() <= set(PROPOSERS.built_in) else PROPOSERS.names
    return {name: float(shares[name]) for name in known if name in shares}


Shares = Annotated[dict[Annotated[str, AfterValidator(PROPOSERS.require)], Share], AfterValidator(_in_canonical_order)]


class CharterPart(BaseModel):
    """Frozen and strict: no unknown keys, no strings for numbers, no infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Keep(CharterPart):
    rule: Annotated[str, AfterValidator(KEEP_RULES.require)] = _setting(
        "better",
        "When a candidate replaces the kept script: better = if its metric is better, on a task"
        " with a command by at least one standard error of the difference; margin = if it is"
        " better by keep.margin; paired = if it is better on average over fresh seeds on which both are trained.",
    )
    margin: float = _setting(
        1.0,
        "For rule margin: the smallest gain to keep, in standard deviations of the baseline's seed noise.",
        ge=0,
        le=100,
    )
    pairs: int = _setting(2, "For rule paired: number of fresh seeds on which both sources are trained.", ge=1, le=64)
    least: float = _setting(0.0, "Smallest gain to keep by any rule, in units of the metric.", ge=0, le=1_000_000)


class Screen(CharterPart):
    fraction: float = _setting(
        1.0,
        "Share of a full experiment's budget in a candidate's first, short training; 1 = no screening.",
        ge=0.01,
        le=1,
    )
    promote: float = _setting(
        0.25, "Share of a wave's candidates that get a full experiment after the screen.", gt=0, le=1
    )


class Charter(CharterPart):
    """How a run spends its budget. The defaults of all fields are the stock loop."""

    version: int = _setting(VERSION, "Version of the charter's format.", ge=1, le=VERSION)
    proposers: Shares = Field(
        default_factory=lambda: {"random": 1.0},
        min_length=1,
        description="Sources of the next edit, with relative weights above 0: queue = the program's ideas in"
        " their order, random = one edit drawn from all, local = neighbours of kept values, tpe = values like those of"
        " the best experiments so far (tree-structured Parzen estimator), elite = crosses of the best"
        " scripts, or the name of an installed proposer. Default random: 1.0.",
    )
    keep: Keep = Field(default_factory=Keep, description="The rule that decides whether to keep a candidate.")
    replicates: int = _setting(1, "Training seeds per experiment; the mean metric counts.", ge=1, le=64)
    screen: Screen = Field(default_factory=Screen, description="A short first training of each candidate.")
    wave: int = _setting(1, "Candidates made from one parent before the keep rule is applied.", ge=1, le=1000)
    confirm: float = _setting(
        0.0,
        "Share of the run's budget reserved for measuring the best candidates again with fresh seeds at the end.",
        ge=0,
        le=0.9,
    )
    no_repeat: bool = _setting(True, "Never try the same source twice in a run.")
    avoid_failures: bool = _setting(False, "Never retry a value that crashed, timed out or ran out of memory.")
    doubt_ideas: bool = _setting(
        False,
        "Follow the list of ideas less often the more of its ideas fail in this run: with probability "
        "(kept + 1) / (tried + 1), where the n-th that was tried counts 4/n.",
    )
    focus: tuple[str, ...] = _setting((), "Groups of edits that may be made; empty = all.", strict=False)
    simplicity: float = _setting(
        0.0, "Smallest gain per added line of source, in units of the metric.", ge=0, le=1_000_000
    )
    history: int = _setting(20, "Number of experiments of its own run that an LLM researcher sees.", ge=0, le=10_000)
    standups: int = _setting(
        1,
        "Number of experiments between stand-ups, where the LLM researchers of an organization see each"
        " other's notes; 1 = in every turn, 0 = never.",
        ge=0,
        le=10_000,
    )

    @property
    def has_queue(self) -> bool:
        """Whether the program's ideas are a proposer."""
        return "queue" in self.proposers

    def get(self, field: str) -> Any:
        """The value of a dotted field, e.g. ``screen.fraction``. Raises KeyError for an unknown one."""
        if field not in FIELDS:
            raise KeyError(field)
        return attrgetter(field)(self)


def promoted(size: int, share: float) -> int:
    """How many of a wave are promoted: at least one."""
    return max(1, round(share * size))


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, info in model.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _fields(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, info


#: Every field that can be set, by its dotted name, in the order of the class.
FIELDS = dict(_fields(Charter))
