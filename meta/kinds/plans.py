"""The plans of the kinds of study. A plan is `[plan]` of study.toml: all that a kind needs to go on with a study beside
the settings that every study has (task, run budget, seeds of verification: `arena.study.settings`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
)

from analysis.ledger.json_values import read_as
from analysis.verdict.decision import LEVEL, EarlierRuns
from arena.race import Stage
from arena.study.settings import StudyConfig
from arena.study.setup import LEAST_HARVEST, RunCost
from programs.program import Program

Role = Literal["champion", "control", "own", "without-ideas", "a/a", "one-line", "start", "learnt"]
PLANS: dict[str, type[Plan]] = {}  # by kind
SEARCHES = ("evolve", "night")  # kinds whose studies end with a champion
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Part(BaseModel):
    """A plan, or a part of one: typed, complete, and the same until the study ends."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Plan(Part):
    """A plan. ``class NightPlan(Plan, kind="night")`` is the one of studies of that kind."""

    def __init_subclass__(cls, *, kind: str = "", **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if kind:
            PLANS[kind] = cls

    def require_programs(self, known: Sequence[str]) -> None:
        """Raise ValueError unless the plan agrees with the programs of its study, whose ids are ``known``."""

    def planned_runs(self, config: Mapping[str, Any], arms: int) -> int | None:
        """Runs of the whole study at most; None where the plan does not say. ``config``: its settings as the ledger has
        them; ``arms``: of its largest match."""
        return None

    def table(self) -> dict[str, JsonValue]:
        """As `[plan]` of study.toml has it."""
        return self.model_dump(mode="json", exclude_none=True)


class Race(Part):
    """A race: each program gets ``runs`` runs, and the best ``keep`` programs are brought to ``more`` runs."""

    runs: PositiveInt
    keep: PositiveInt
    more: PositiveInt

    @property
    def stages(self) -> tuple[Stage, Stage]:
        return Stage(None, self.runs), Stage(self.keep, self.more)

    def most_runs(self, programs: int) -> int:
        """Runs of so many raced programs, at most."""
        return programs * self.runs + min(self.keep, programs) * max(0, self.more - self.runs)


class AnnouncedTest(Part):
    """The one test that a study announces, fixed before the first run."""

    @property
    def line(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.model_dump().items())


class WelchTest(AnnouncedTest):
    """Of an evolution (`analysis.verdict.claim`)."""

    method: Literal["Welch"] = "Welch"
    sides: Literal[1] = 1
    level: float = Field(default=LEVEL, ge=LEVEL, le=LEVEL)
    skewness: Literal["Cornish-Fisher"] = "Cornish-Fisher"


class TurnsTest(AnnouncedTest):
    """Of a night (`analysis.effects.contributions.block_test`)."""

    method: Literal["permutation of turns"] = "permutation of turns"
    sides: Literal[1] = 1
    level: float = Field(default=LEVEL, ge=LEVEL, le=LEVEL)
    skewness: Literal["none"] = "none"


class EvolvePlan(Plan, kind="evolve"):
    """A study that races programs, writes better ones and tests the best.

    ``starters`` programs run in the ``opening`` race, stock beside them a second time (A/A). Each of the
    ``generations`` races ``children`` new programs beside ``elites`` old ones, which are their possible parents
    (``generation``). ``final`` has the runs of each arm of the confirmation by its role: ``champion`` and ``control``
    (stock) always, ``own`` for the user's program, the others for what only explains the result. A held-out task that
    is tested gets the same numbers; one that is only shown, ``shown_runs`` of each arm.

    The harvest, the last search for the best train.py, gets ``harvest_percent`` of the device time of all runs.
    ``origin``: id of the user's program, which alone and with its descendants may become the champion; ``path``: its
    file. ``operators``: names of the mutators, where other ones were added to the built-in ones.
    """

    starters: PositiveInt
    opening: Race
    generations: NonNegativeInt
    children: PositiveInt
    elites: NonNegativeInt
    generation: Race
    final: dict[Role, PositiveInt]
    shown_runs: NonNegativeInt = 0
    harvest_percent: NonNegativeInt = 0
    origin: str | None = None
    path: str | None = None
    operators: list[str] = []
    test: WelchTest = WelchTest()

    @field_validator("final")
    @classmethod
    def _has_both_sides(cls, final: dict[Role, int]) -> dict[Role, int]:
        if missing := {"champion", "control"} - final.keys():
            raise ValueError(f"{', '.join(sorted(missing))} is missing")
        return final

    def require_programs(self, known: Sequence[str]) -> None:
        require_known("origin", [self.origin] if self.origin else [], known)

    @property
    def search_runs(self) -> int:
        """Runs whose gains choose programs, on each task."""
        raced = self.opening.most_runs(self.starters) + self.opening.runs  # the second arm of stock
        return raced + self.generations * self.generation.most_runs(self.children + self.elites)

    @property
    def final_runs(self) -> int:
        """Runs of the confirmation, on each task."""
        return sum(self.final.values())

    @property
    def runs(self) -> int:
        return self.search_runs + self.final_runs

    def planned_runs(self, config: Mapping[str, Any], arms: int) -> int:
        held_out = sum(self.held_out_runs(each["tested"]) for each in config["held_out"])
        return self.runs * (1 + len(config["further"])) + held_out

    def held_out_runs(self, tested: bool) -> int:
        """Runs on one held-out task, at most."""
        return sum(self.held_out_final(tested).values())

    def held_out_final(self, tested: bool) -> Mapping[Role, int]:
        """Runs of each role on a held-out task."""
        arms: tuple[Role, ...] = ("champion", "control", "own")
        roles = (*arms, "without-ideas") if tested else arms
        return {role: self.final[role] if tested else self.shown_runs for role in roles if role in self.final}

    def harvest_experiments(self, cost: RunCost) -> int:
        """Trainings of the harvest on a task, those that verify its result included; 0 without a harvest."""
        if not self.harvest_percent:
            return 0
        return max(LEAST_HARVEST, int(cost.seconds(self.runs) * self.harvest_percent / 100 / cost.task.cost_seconds))


class NightPlan(Plan, kind="night"):
    """Programs that take turns on one train.py, in one run.

    ``turns``: ids of the programs, which no data of the night chose; the one test compares the second with the first.
    ``origin``: id of the user's program; ``path``: its file. ``main_seconds``: device-seconds of a training of the main
    with which the night begins, where it goes on from another one; ``ablation_seconds``: those in which its last main
    is trained without each of its changes.
    """

    turns: Annotated[list[str], Field(min_length=2)]
    origin: str
    path: str | None = None
    main_seconds: Seconds | None = None
    ablation_seconds: Seconds | None = None
    test: TurnsTest = TurnsTest()

    def require_programs(self, known: Sequence[str]) -> None:
        require_known("turns", [self.origin, *self.turns], known)

    def planned_runs(self, config: Mapping[str, Any], arms: int) -> int:
        return 1


class RaceRule(Part):
    """How a match divides its runs: by the rule of this name, ``batch`` runs at a time."""

    batch: PositiveInt
    rule: str


class MatchPlan(Plan, kind="match"):
    """Programs at equal budget. ``runs`` of each program, and on each task; ``roles``: one for each program of the
    study; ``race``: instead of equal runs, at most as many; ``added``: the runs of earlier studies that count too.
    ``turns``: instead of runs of their own, the programs of these ids take turns in ``runs`` nights of so many
    ``blocks`` on each task."""

    runs: PositiveInt
    roles: list[str]
    turns: list[str] = []
    blocks: NonNegativeInt = 0
    race: RaceRule | None = None
    added: list[EarlierRuns] = []

    def require_programs(self, known: Sequence[str]) -> None:
        if len(self.roles) != len(known):
            raise ValueError("roles: not one for each of its programs")
        require_known("turns", self.turns, known)

    def planned_runs(self, config: Mapping[str, Any], arms: int) -> int:
        return arms * self.runs

    @field_validator("added", mode="before")
    @classmethod
    def _from_toml(cls, added: object) -> list[EarlierRuns]:
        return read_as(list[EarlierRuns], added)


class AblationPlan(Plan, kind="ablation"):
    """A factorial ablation of a program's directives. ``name`` and ``text``: the program; ``only``: ids (or prefixes)
    of the directives to switch, all where empty; ``budget``: device-seconds, of four blocks where None. ``lineages``:
    the variants take turns in so many nights of ``blocks`` blocks each; 0: every variant has runs of its own."""

    name: str
    text: str
    only: list[str] = []
    budget: Seconds | None = None
    lineages: NonNegativeInt = 0
    blocks: NonNegativeInt = 0

    @property
    def program(self) -> Program:
        return Program.parse(self.text, self.name)


class ReplayPlan(Plan, kind="replay"):
    """A run's kept changes, of which its final script needs ``commits``, trained again without each of them with so
    many fresh ``seeds``. ``source``: folder of the import that has the run; None: the study itself."""

    run_id: str
    commits: PositiveInt
    seeds: Annotated[int, Field(ge=2)]
    source: str | None = None


def stored_plan(kind: object, table: object) -> Plan | None:
    """The plan that study.toml or a ledger has, without the module of its kind, which is slow to load; None where it is
    not one."""
    plan_type = PLANS.get(str(kind))
    try:
        return plan_type.model_validate(table) if plan_type else None
    except ValidationError:
        return None


def require_known(field: str, program_ids: Sequence[str], known: Sequence[str]) -> None:
    if unknown := sorted({*program_ids} - {*known}):
        raise ValueError(f"{field}: {unknown[0]!r} is not one of its programs")


def starters_of(config: StudyConfig) -> list[Program]:
    """The programs with which a study begins."""
    return [Program.parse(text, name) for name, text in config.programs]
