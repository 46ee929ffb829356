"""A prior over programs: a new study starts from what past ones say, and writes down what it took from them.

It is used twice: half of the library's seats in the opening race go to the programs of which most is expected, and the
posterior that parents and the champion are chosen by starts from that expectation. It is no evidence: the claim of the
study rests on fresh seeds alone. A past study that searched on a task which the new one reserves is refused, for then
the reserved task would not be untouched.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from analysis.evidence import ProgramScore
from analysis.ledger import state_of
from analysis.prior import PastGain, expected, past_gains
from analysis.study import ledger_folder, open_study
from analysis.tables import rows
from analysis.wording import many
from arena.settings import Prior, PriorProgram, PriorStudy, StudyConfig
from inner_loop.behaviour import behaviour_id
from meta.population import DIVERSE
from programs.errors import NotComparable, ProgramError, UsageError
from programs.program import Program
from programs.shelf import starter
from trainer.task import Task

_TEXTS = "SELECT program_id, text FROM programs"
_SEARCHED = "SELECT DISTINCT task FROM matches WHERE stream = 'selection'"


@dataclass(frozen=True)
class Known:
    """What was gathered: the figures, and the texts of the programs that they are of, by program_id."""

    prior: Prior
    texts: Mapping[str, str]

    def programs(self) -> list[Program]:
        """Those that still parse, the most promising first: a past study may come from a stranger."""
        found = []
        for one in self.prior.programs:
            try:
                program = Program.parse(self.texts[one.program_id], one.name)
            except (ProgramError, KeyError):
                continue
            if program.program_id == one.program_id:
                found.append(program)
        return found


def gather(folders: Sequence[Path], reserved: Sequence[str] = ()) -> Known:
    """What the studies in ``folders`` say of programs.

    Raises UsageError for a study that tells nothing, that is named twice, or that searched on one of the tasks that are
    ``reserved``; NotFound and Corrupt as open_study.
    """
    found: list[PastGain] = []
    studies: dict[str, PriorStudy] = {}
    texts: dict[str, str] = {}
    for folder in folders:
        with open_study(folder, views=()) as con:
            mine = past_gains(con)
            texts |= {row["program_id"]: row["text"] for row in rows(con.execute(_TEXTS))}
            searched = {row["task"] for row in rows(con.execute(_SEARCHED))}
        if not mine:
            raise UsageError(
                f"--prior {folder}: tells nothing: no verified gains beside a stock that clearly gained",
                hint="name a study of evolve, improve or match that has ended",
            )
        searched |= _inherited(StudyConfig.read(folder / "study.toml"))
        if touched := sorted(searched & set(reserved)):
            raise UsageError(
                f"--prior {folder}: it searched on {touched[0]}, which is to be reserved here",
                hint="reserve another task, or leave that study out",
            )
        study_id = mine[0].study_id
        if study_id in studies:
            raise UsageError(f"--prior {folder}: this study is named twice", hint="name it once")
        ledger = state_of(ledger_folder(folder))
        studies[study_id] = PriorStudy(study_id=study_id, ledger=ledger, tasks=sorted(searched))
        found += mine
    programs = [PriorProgram(**asdict(one)) for one in expected(found)]
    return Known(Prior(studies=list(studies.values()), programs=programs), texts)


def _inherited(config: StudyConfig) -> set[str]:
    """The tasks that the priors of a study had searched on: what it seated was bred there."""
    return {task for study in (config.prior.studies if config.prior else ()) for task in study.tasks}


def seat(
    known: Known, chosen: Sequence[Program], tasks: Sequence[Task], researcher: str
) -> tuple[list[Program], Prior]:
    """The starters, half of the library's seats given to programs of the past; the prior, with those who got one.

    ``chosen`` are the starters of a study without a prior (`meta.population.starters`); the library's last give way,
    while stock, the user's own and the one-line control keep their places. Of programs that behave alike on all
    ``tasks`` the first is seated.
    """

    def alike(program: Program) -> Hashable:
        return tuple(behaviour_id(program, task, researcher) for task in tasks)

    library = {starter(name).program_id for name in DIVERSE[1:]}
    kept = [program for program in chosen if program.program_id not in library]
    giving = [program for program in chosen if program.program_id in library]
    seats = len(giving) // 2
    seen = {alike(program) for program in kept}
    seated: list[Program] = []
    for program in known.programs():
        if len(seated) == seats:
            break
        if alike(program) not in seen:
            seen.add(alike(program))
            seated.append(program)
    rest = [program for program in giving if program.program_id not in {one.program_id for one in seated}]
    racing = [*kept[:-1], *seated, *rest[: len(giving) - len(seated)], kept[-1]]
    return racing, known.prior.model_copy(update={"seated": [program.program_id for program in seated]})


def sentence(prior: Prior) -> str:
    """What a plan says of it: ``2 studies speak for 13 programs; most is expected of ideas-first, 1.9 times stock``."""
    best = prior.programs[0]
    studies, programs = many(len(prior.studies), "study"), many(len(prior.programs), "program")
    says = "speaks" if len(prior.studies) == 1 else "speak"
    return f"{studies} {says} for {programs}; most is expected of {best.name}, {best.ratio:.2g} times stock"


def refuse_other(folder: Path, made: Prior | None, asked: Sequence[Path]) -> None:
    """What a study began with is part of what it is: naming other studies later is an error."""
    if not asked:
        return
    ids = {StudyConfig.read(path / "study.toml").study_id for path in asked}
    if ids != {study.study_id for study in (made.studies if made else ())}:
        raise NotComparable(
            f"{folder} was founded with another prior",
            hint="leave --prior out to go on, or name a new folder with --study",
        )


def informed(scores: Sequence[ProgramScore], prior: Prior | None) -> list[ProgramScore]:
    """Scores whose posteriors start from the prior, in the unit of the scores: stock's mean gain here is its scale.

    Two normal sources of one value: means weighted by precision. As they are where nothing is known of a program, or
    where stock gains nothing here.
    """
    known = {one.program_id: one for one in prior.programs} if prior else {}
    stock_id = starter("stock").program_id
    scale = next((score.shrunk_mean for score in scores if score.program_id == stock_id), 0.0)
    if scale <= 0 or not known:
        return list(scores)
    return [_with(score, known[score.program_id], scale) if score.program_id in known else score for score in scores]


def _with(score: ProgramScore, one: PriorProgram, scale: float) -> ProgramScore:
    if score.shrunk_se <= 0:  # known for certain, as where a law without noise is played
        return score
    here, before = 1.0 / score.shrunk_se**2, 1.0 / (one.se * scale) ** 2
    mean = (here * score.shrunk_mean + before * one.ratio * scale) / (here + before)
    # Over several tasks, what is known of the mean is known of each of them less surely.
    each = one.model_copy(update={"se": one.se * len(score.tasks) ** 0.5})
    tasks = tuple(_with(on, each, scale) for on in score.tasks)
    return replace(score, shrunk_mean=mean, shrunk_se=(here + before) ** -0.5, tasks=tasks)
