"""The rows of attribution: what an edit, a directive or a mutation earned, each with its design and interval."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

Value = str | float | int | bool
Design = Literal["randomised", "paired", "observational"]


@dataclass(frozen=True)
class Estimate:
    """What every kind of credit carries. estimate, se, low and high are in `unit`; positive is better."""

    credit_id: str
    task: str
    estimate: float
    se: float | None  # None where one run is all there is
    low: float | None  # two-sided 95% t interval
    high: float | None
    n: int  # tries (edits), experiments (directives), pairs of runs (mutations)
    q: float | None  # Benjamini-Hochberg, over the rows of one method and task
    design: Design
    unit: str

    @property
    def causal(self) -> bool:
        """Whether causal words may be used of this row: randomised or paired designs only."""
        return self.design in ("randomised", "paired")

    @property
    def proven(self) -> bool:
        """Whether the interval excludes 0 and the false discovery rate holds at 5%."""
        return self.q is not None and self.q < 0.05 and ((self.low or 0.0) > 0.0 or (self.high or 0.0) < 0.0)


@dataclass(frozen=True)
class EditCredit(Estimate):
    """What setting a knob to a value (or applying a patch: value True) earned as a single change of its parent."""

    knob: str
    value: Value
    label: str  # "lr=0.002" or "+muon", as an idea names it
    failures: int  # tries that crashed, timed out, ran out of memory or were invalid; each earns 0
    runs: int
    joint_estimate: float | None  # main effect against the baseline's value from all experiments, × share that ran
    device_seconds: float  # charged for these tries

    @property
    def score(self) -> float:
        """What to order ideas by: the joint estimate where there is one.

        On planted effects it orders better wherever noise or tries of several changes blur the single tries (Kendall
        tau .91 against .68 at worst), the same at moderate interactions, and a little worse (.39 against .46) only
        where interactions are twice as large as the effects themselves.
        """
        return self.estimate if self.joint_estimate is None else self.joint_estimate


@dataclass(frozen=True)
class NeverFollowed:
    """A directive that no experiment ever cited, although programs that hold it ran."""

    directive_id: str
    text: str
    heading: str
    kind: str
    program_ids: tuple[str, ...]
    runs_held: int


@dataclass(frozen=True)
class DirectiveCredit(Estimate):
    """Kept gain per charged device-second of the experiments that cite a directive."""

    directive_id: str
    text: str
    heading: str
    kind: str
    program_ids: tuple[str, ...]
    kept_gain: float
    device_seconds: float
    failures: int
    runs_held: int  # finished or running runs of programs that hold it
    runs_followed: int  # of these, runs with an experiment that cites it

    @property
    def compliance(self) -> float | None:
        return self.runs_followed / self.runs_held if self.runs_held else None


@dataclass(frozen=True)
class MutationCredit(Estimate):
    """Verified gain of a child program minus that of its parents, measured in the same matches."""

    child_id: str
    name: str
    operator: str
    parent_ids: tuple[str, ...]


@dataclass(frozen=True)
class Credit:
    """A row of the view `credit`."""

    credit_id: str
    task: str
    program_id: str | None
    directive_id: str | None
    child_id: str | None
    method: str
    design: str
    estimate: float | None
    se: float | None
    unit: str
    n: int
    q: float | None
    low: float | None
    high: float | None
    label: str
    knob: str | None
    value: str | None
    causal: bool
    joint_estimate: float | None
    failures: int | None
    runs: int | None
    runs_held: int | None
    device_seconds: float | None


def row(item: EditCredit | DirectiveCredit | MutationCredit) -> Credit:
    """The view's row of a credit."""
    shared = {field.name: getattr(item, field.name) for field in fields(Estimate)} | {"causal": item.causal}
    empty = {field.name: None for field in fields(Credit)}
    if isinstance(item, EditCredit):
        own: dict[str, object] = {
            "method": "edit", "label": item.label, "knob": item.knob, "value": plain(item.value),
            "joint_estimate": item.joint_estimate, "failures": item.failures, "runs": item.runs,
            "device_seconds": item.device_seconds,
        }  # fmt: skip
    elif isinstance(item, DirectiveCredit):
        own = {
            "method": "directive", "label": item.text[:200], "directive_id": item.directive_id,
            "program_id": item.program_ids[0] if len(item.program_ids) == 1 else None, "failures": item.failures,
            "runs": item.runs_followed, "runs_held": item.runs_held, "device_seconds": item.device_seconds,
        }  # fmt: skip
    else:
        own = {"method": "mutation", "label": f"{item.operator}: {item.name}", "program_id": item.child_id,
               "child_id": item.child_id}  # fmt: skip
    return Credit(**{**empty, **shared, **own})


def plain(value: Value) -> str:
    """A value as SQL users compare it and as ideas name it: 'adamw', '0.002', 'true'."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
