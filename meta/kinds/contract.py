"""What a kind of study is: a typed plan, its cost, how it is played and what it shows at its end.

A kind is one module of this folder with a subclass of `StudyKind` and ``make = ITS_CLASS``; its name in study.toml is
the module's. `meta.cli.driver` starts and resumes studies of all kinds alike, so no other module asks which kind a
study has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from pydantic import ValidationError

from analysis.ledger.json_values import first_fault
from analysis.ledger.run_state import RunState
from arena.study.settings import StudyConfig
from arena.study.study import Study
from arena.work.executor import Progress
from meta.kinds.cost import Cost
from meta.kinds.plans import Plan, starters_of
from programs.common.errors import Corrupt, NotComparable
from programs.common.registry import Registry

if TYPE_CHECKING:
    from meta.cli.output import Output
    from meta.ui.live import LiveStudy

AnyPlan = TypeVar("AnyPlan", bound=Plan)


class StudyKind(Generic[AnyPlan]):
    """A kind of study. An instance has no state: everything about a study is in its config, its plan and its ledger.

    ``plan_type``: the class of its plan. ``has_researcher``: whether a researcher follows programs. ``can_apply``:
    whether ``--apply`` commits its result to the task's repository. ``goes_into_existing``: whether the work can be
    added to the ledger of a study that exists.
    """

    name: ClassVar[str]
    plan_type: type[AnyPlan]
    has_researcher: ClassVar[bool] = True
    can_apply: ClassVar[bool] = False
    goes_into_existing: ClassVar[bool] = False

    def read_plan(self, config: StudyConfig) -> AnyPlan:
        """The plan of a study of this kind. Raises Corrupt."""
        try:
            plan = self.plan_type.model_validate(config.plan)
            plan.require_programs([program.program_id for program in starters_of(config)])
        except ValueError as error:
            problem = first_fault(error) if isinstance(error, ValidationError) else error
            hint = "restore study.toml from a copy"
            raise Corrupt(f"study.toml: [plan] {problem}", hint=hint) from None
        return plan

    def cost(self, config: StudyConfig, plan: AnyPlan) -> Cost:
        """What the study costs, whether it exists or not, and what is said before its start."""
        raise NotImplementedError

    def settle(self, config: StudyConfig) -> StudyConfig:
        """The config of a new study, after all checks, with what is drawn only now."""
        return config

    def has_finished(self, study: Study) -> bool:
        """Whether nothing is left to play. Where that is not known, playing again changes nothing."""
        return False

    def play(self, study: Study, plan: AnyPlan, progress: Progress) -> None:
        """Play what is left of the study. Raises Drained."""
        raise NotImplementedError

    def added_to(self, study: Study) -> AnyPlan | None:
        """The plan of work of this kind that was added to a study and has not ended; None without any."""
        return None

    def runs_of(self, study: LiveStudy) -> list[RunState]:
        """The runs that have begun of the work of this kind that is under way."""
        return study.begun

    def result(self, out: Output, study: Study, plan: AnyPlan, applies: bool = False) -> Sequence[str]:
        """Show what came of the study; returns the commands that go on from it. ``applies``: it is committed next, so
        no command does that."""
        raise NotImplementedError


KINDS: Registry[type[StudyKind[Plan]]] = Registry("kinds", "meta.kinds", ())


def named_kind(name: str) -> StudyKind[Plan]:
    return KINDS.get(name)()


def kind_of(config: StudyConfig) -> StudyKind[Plan]:
    """The kind of a study. Raises NotComparable for one that another command plays, as a contest."""
    if config.kind not in KINDS:
        hint = f"metaloop {config.kind} --help"
        raise NotComparable(f"a study of the kind {config.kind} is not resumed from its folder", hint=hint)
    return named_kind(config.kind)


@dataclass(frozen=True)
class Draft(Generic[AnyPlan]):
    """A study before it exists. ``facts``: what is said before the start beside what the kind says; ``remarks``: lines
    about the programs and options."""

    kind: StudyKind[AnyPlan]
    config: StudyConfig
    plan: AnyPlan
    facts: dict[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()


def plan_of(config: StudyConfig) -> Plan:
    """The plan of a study, by its kind. Raises Corrupt, or NotComparable as `kind_of`."""
    return kind_of(config).read_plan(config)
