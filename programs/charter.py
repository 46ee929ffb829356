"""The charter: the settings of a program that the harness carries out. The empty charter is the stock loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_serializer, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from programs.registry import Registry

VERSION = 1
PROPOSERS: Registry[Any] = Registry(
    "proposers", "inner_loop.proposers", ("start",), first=("queue", "random", "local", "tpe", "recombine")
)
KEEP_RULES: Registry[Any] = Registry(
    "keep_rules", "inner_loop.keep", ("keep", "citations"), first=("better", "margin", "paired")
)
PhaseValue = dict[str, Any]  # the fields that a phase sets, as in YAML
_PARTS = ("keep", "screen", "branch", "plateau")  # fields that have fields
CharterValue = str | float | tuple[str, ...] | dict[str, float] | list[PhaseValue]  # of a dotted field; also int, bool
Share = Annotated[float, Field(gt=0, le=1_000_000)]


def _stock_proposers() -> dict[str, float]:
    return {"random": 1.0}


def _in_canonical_order(shares: dict[str, float]) -> dict[str, float]:
    # The written order of the shares has no meaning; equal charters must dump to equal text.
    known = PROPOSERS.built_in if shares.keys() <= set(PROPOSERS.built_in) else PROPOSERS.names
    return {name: float(shares[name]) for name in known if name in shares}


Shares = Annotated[dict[Annotated[str, PROPOSERS], Share], AfterValidator(_in_canonical_order)]
Wave = Annotated[int, Field(ge=1, le=1000)]
Groups = Annotated[tuple[str, ...], Field(strict=False)]


class CharterPart(BaseModel):
    """Frozen and strict: no unknown keys, no strings for numbers, no infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Keep(CharterPart):
    rule: Annotated[str, KEEP_RULES] = Field(
        default="better",
        description="When a candidate replaces the kept script: better = if its metric is better; margin = if it is"
        " better by keep.margin; paired = if it is better on average over fresh seeds on which both are trained."
        " Default better.",
    )
    margin: float = Field(
        default=1.0,
        ge=0,
        le=100,
        description="For rule margin: the smallest gain to keep, in standard deviations of the baseline's seed noise."
        " Default 1.0.",
    )
    pairs: int = Field(
        default=2,
        ge=1,
        le=64,
        description="For rule paired: number of fresh seeds on which both sources are trained. Default 2.",
    )
    least: float = Field(
        default=0.0,
        ge=0,
        le=1_000_000,
        description="Smallest gain to keep by any rule, in units of the metric. Default 0.0.",
    )


class Screen(CharterPart):
    fraction: float = Field(
        default=1.0,
        ge=0.01,
        le=1,
        description="Share of a full experiment's budget in a candidate's first, short training; 1 = no screening."
        " Default 1.0.",
    )
    promote: float = Field(
        default=0.25,
        gt=0,
        le=1,
        description="Share of a wave's candidates that get a full experiment after the screen. Default 0.25.",
    )


class Branch(CharterPart):
    frontier: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Number of best sources that are kept as parents of candidates. Default 1.",
    )
    rewind_after: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Number of failed experiments in a row after which the run returns to an earlier kept source;"
        " 0 = never. Default 0.",
    )


class Plateau(CharterPart):
    after: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Experiments in a row without a kept change that count as a plateau; 0 = never. Default 0.",
    )
    then: Literal["group", "several"] = Field(
        default="group",
        description="At a plateau: group = the group of settings tried most during the plateau is left alone until"
        " something is kept or the next plateau; several = one experiment changes several settings at once."
        " Default group.",
    )


class Phase(CharterPart):
    """Fields that have other values while a part of the budget is spent. Those that a phase does not set are as outside
    the phases; the defaults here mean nothing."""

    until: float = Field(default=1.0, gt=0, le=1)
    proposers: Shares = Field(default_factory=_stock_proposers, min_length=1)
    keep: Keep = Field(default_factory=Keep)
    screen: Screen = Field(default_factory=Screen)
    wave: Wave = 1
    no_repeat: bool = True
    avoid_failures: bool = False
    doubt_ideas: bool = False
    focus: Groups = ()

    @property
    def plain(self) -> PhaseValue:
        """What it sets; without ``until`` where it lasts to the end."""
        return self.model_dump(mode="json", exclude_unset=True, exclude=None if self.until < 1 else {"until"})

    @property
    def overrides(self) -> dict[str, Any]:
        """The dotted charter fields that it sets."""
        return {field: value for field, value in flat(self.plain).items() if field != "until"}


class Charter(CharterPart):
    """How a run spends its budget. The defaults of all fields are the stock loop."""

    version: int = Field(default=VERSION, ge=1, le=VERSION, description="Version of the charter's format. Default 1.")
    proposers: Shares = Field(
        default_factory=_stock_proposers,
        min_length=1,
        description="Sources of the next edit, with relative weights above 0: queue = the program's ideas in"
        " their order, random = one edit drawn from all, local = neighbours of kept values, tpe = values like those of"
        " the best experiments so far (tree-structured Parzen estimator), recombine = combinations of kept edits,"
        " elite = crosses of the best scripts, or the name of an installed proposer. Default random: 1.0.",
    )
    keep: Keep = Field(default_factory=Keep, description="The rule that decides whether to keep a candidate.")
    replicates: int = Field(
        default=1, ge=1, le=64, description="Training seeds per experiment; the mean metric counts. Default 1."
    )
    screen: Screen = Field(default_factory=Screen, description="A short first training of each candidate.")
    wave: Wave = Field(
        default=1,
        description="Candidates made from one parent before the keep rule is applied. Default 1.",
    )
    branch: Branch = Field(default_factory=Branch, description="How many kept sources are developed in parallel.")
    plateau: Plateau = Field(default_factory=Plateau, description="What to do when nothing is kept any more.")
    rotate: bool = Field(
        default=False,
        description="Never change the same group of settings in two experiments in a row. Default false.",
    )
    confirm: float = Field(
        default=0.0,
        ge=0,
        le=0.9,
        description="Share of the run's budget reserved for measuring the best candidates again with fresh"
        " seeds at the end. Default 0.0.",
    )
    no_repeat: bool = Field(default=True, description="Never try the same source twice in a run. Default true.")
    avoid_failures: bool = Field(
        default=False,
        description="Never retry a value that crashed, timed out or ran out of memory. Default false.",
    )
    doubt_ideas: bool = Field(
        default=False,
        description="Follow the list of ideas less often the more of its ideas fail in this run: with probability "
        "(kept + 1) / (tried + 1), where the n-th that was tried counts 4/n. Default false.",
    )
    focus: Groups = Field(default=(), description="Groups of edits that may be made; empty = all. Default empty.")
    simplicity: float = Field(
        default=0.0,
        ge=0,
        le=1_000_000,
        description="Smallest gain per added line of source, in units of the metric. Default 0.0.",
    )
    history: int = Field(
        default=20,
        ge=0,
        le=10_000,
        description="Number of experiments of its own run that an LLM researcher sees. Default 20.",
    )
    standups: int = Field(
        default=1,
        ge=0,
        le=10_000,
        description="Number of experiments between stand-ups, where the LLM researchers of an organization see each"
        " other's notes; 1 = in every turn, 0 = never. Default 1.",
    )

    phases: tuple[Phase, ...] = Field(
        default=(),
        strict=False,
        max_length=20,
        description="Parts of the run, one after the other: until = share of the run's budget that is spent at the end"
        " of the phase (the last one has none), and the fields that are different there. Default empty.",
    )

    @field_validator("phases")
    @classmethod
    def _in_order(cls, phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
        before, last = 0.0, len(phases) - 1
        for at, phase in enumerate(phases):
            if at < last and phase.until == 1:
                wrong = "needs until, a share of the budget below 1: another phase follows"
            elif at == last and phase.until < 1:
                wrong = "is the last one and lasts to the end of the run: leave out until"
            elif phase.until <= before:
                wrong = f"must end after the phase before it, at more than {before:g} of the budget"
            else:
                before = phase.until
                continue
            raise PydanticCustomError("phase", "{wrong}", {"wrong": wrong, "at": at, "until": phase.until})
        return phases

    @field_serializer("phases")
    def _plain(self, phases: tuple[Phase, ...]) -> list[PhaseValue]:
        return [phase.plain for phase in phases]

    def by_phase(self) -> tuple[tuple[float, Charter], ...]:
        """Each phase of a run: the share of the budget at its end, and the charter in it, which has no phases."""
        if not self.phases:
            return ((1.0, self),)
        base = flat(self.model_dump(mode="json", exclude_unset=True, exclude={"phases"}))
        merged = (nested((base | phase.overrides).items()) for phase in self.phases)
        return tuple((p.until, Charter.model_validate(tree)) for p, tree in zip(self.phases, merged, strict=True))

    def get(self, field: str) -> Any:
        """The value of a dotted field, e.g. ``screen.fraction``. Raises KeyError for an unknown one."""
        value: Any = self
        for part in field.split("."):
            if not isinstance(value, BaseModel) or part not in type(value).model_fields:
                raise KeyError(field)
            value = getattr(value, part)
        return [phase.plain for phase in value] if field == "phases" else value


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


def flat(tree: PhaseValue) -> dict[str, Any]:
    """What a phase sets, by dotted field."""
    return {
        dotted: inner
        for name, value in tree.items()
        for dotted, inner in ({f"{name}.{n}": v for n, v in value.items()} if name in _PARTS else {name: value}).items()
    }


def nested(pairs: Iterable[tuple[str, Any]]) -> PhaseValue:
    """The phase that has these dotted fields."""
    tree: PhaseValue = {}
    for field, value in pairs:
        name, _, leaf = field.partition(".")
        if leaf:
            tree.setdefault(name, {})[leaf] = value
        else:
            tree[name] = value
    return tree
