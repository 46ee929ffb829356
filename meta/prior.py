"""A prior over programs: a new study starts from the estimates of past studies and records which it used.

It is used twice: half of the library's places in the opening race go to the programs with the highest expected gain,
and the posterior that selects parents and champion starts from that expectation. The claim of the study does not use
it. A past study that searched on a task which the new one reserves is refused: the held-out task would not be unused.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from analysis.evidence import ProgramScore
from analysis.ledger import state_of
from analysis.prior import PastGain, expected, past_gains
from analysis.study import ledger_folder, read_study
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
    """The estimates of past studies, and the texts of their programs by program_id."""

    prior: Prior
    texts: Mapping[str, str]

    def programs(self) -> list[Program]:
        """Programs that parse, highest expected gain first. A past study may be untrusted."""
        programs = []
        for one in self.prior.programs:
            try:
                program = Program.parse(self.texts[one.program_id], one.name)
            except (ProgramError, KeyError):
                continue
            if program.program_id == one.program_id:
                programs.append(program)
        return programs


def gather(folders: Sequence[Path], reserved: Sequence[str] = ()) -> Known:
    """The estimates of the studies in ``folders``.

    Raises UsageError for a study without usable gains, one that is named twice, or one that searched on a ``reserved``
    task; NotFound and Corrupt as read_study.
    """
    estimates: list[PastGain] = []
    studies: dict[str, PriorStudy] = {}
    texts: dict[str, str] = {}
    for folder in folders:
        with read_study(folder, views=()) as con:
            estimates_of_study = past_gains(con)
            texts |= {row["program_id"]: row["text"] for row in rows(con.execute(_TEXTS))}
            searched = {row["task"] for row in rows(con.execute(_SEARCHED))}
        if not estimates_of_study:
            raise UsageError(
                f"--prior {folder}: has no usable estimates: it needs verified gains and a stock that clearly gained",
                hint="name a study of evolve, improve or match that has ended; what an imported log shows: "
                f"metaloop learn {folder} -t TASK --into kb/, then --knowledge kb/",
            )
        config = StudyConfig.read(folder / "study.toml")
        searched |= _inherited(config) | _families(config)
        if touched := sorted(searched & set(reserved)):
            raise UsageError(
                f"--prior {folder}: it searched on {touched[0]}, which this study reserves",
                hint="reserve another task, or leave that study out",
            )
        study_id = estimates_of_study[0].study_id
        if study_id in studies:
            raise UsageError(f"--prior {folder}: this study is named twice", hint="name it once")
        ledger = state_of(ledger_folder(folder))
        studies[study_id] = PriorStudy(study_id=study_id, ledger=ledger, tasks=sorted(searched))
        estimates += estimates_of_study
    programs = [PriorProgram(**asdict(one)) for one in expected(estimates)]
    return Known(Prior(studies=list(studies.values()), programs=programs), texts)


def _families(config: StudyConfig) -> set[str]:
    """The families that a study over families had searched on; a study that leaves one out may not start from it."""
    used = config.families
    left_out = {each.task_id for each in config.reserve}
    return {name for name, ids in used.members.items() if not left_out & set(ids)} if used else set()


def _inherited(config: StudyConfig) -> set[str]:
    """The tasks that the priors of a study had searched on: its starters may come from there."""
    return {task for study in (config.prior.studies if config.prior else ()) for task in study.tasks}


def seat(
    known: Known, chosen: Sequence[Program], tasks: Sequence[Task], researcher: str
) -> tuple[list[Program], Prior]:
    """The starters, with half of the library's places given to programs of past studies; and the prior with these.

    ``chosen`` are the starters of a study without a prior (`meta.population.starters`). The library's last programs are
    replaced; stock, the user's own and the one-line control stay. Of programs that behave alike on all ``tasks`` only
    the first gets a place.
    """

    def alike(program: Program) -> Hashable:
        return tuple(behaviour_id(program, task, researcher) for task in tasks)

    library = {starter(name).program_id for name in DIVERSE[1:]}
    staying = [program for program in chosen if program.program_id not in library]
    giving = [program for program in chosen if program.program_id in library]
    seats = len(giving) // 2
    seen = {alike(program) for program in staying}
    seated: list[Program] = []
    for program in known.programs():
        if len(seated) == seats:
            break
        if alike(program) not in seen:
            seen.add(alike(program))
            seated.append(program)
    rest = [program for program in giving if program.program_id not in {one.program_id for one in seated}]
    racing = [*staying[:-1], *seated, *rest[: len(giving) - len(seated)], staying[-1]]
    return racing, known.prior.model_copy(update={"seated": [program.program_id for program in seated]})


def sentence(prior: Prior) -> str:
    """For a plan: ``2 studies with 13 programs; the best expected is ideas-first, 1.9 times stock``."""
    best = prior.programs[0]
    studies, programs = many(len(prior.studies), "study"), many(len(prior.programs), "program")
    return f"{studies} with {programs}; the best expected is {best.name}, {best.ratio:.2g} times stock"


def refuse_other(folder: Path, made: Prior | None, requested: Sequence[Path]) -> None:
    """Raise NotComparable for other studies than those that the study was created with."""
    if not requested:
        return
    ids = {StudyConfig.read(path / "study.toml").study_id for path in requested}
    if ids != {study.study_id for study in (made.studies if made else ())}:
        raise NotComparable(
            f"{folder} was created with another prior",
            hint="leave --prior out to resume, or name a new folder with --study",
        )


def informed(scores: Sequence[ProgramScore], prior: Prior | None) -> list[ProgramScore]:
    """Scores whose posteriors start from the prior, in the unit of the scores: stock's mean gain here is its scale.

    Means weighted by precision. Unchanged for programs without a prior, or if stock gains nothing here.
    """
    known = {one.program_id: one for one in prior.programs} if prior else {}
    stock_id = starter("stock").program_id
    scale = next((score.shrunk_mean for score in scores if score.program_id == stock_id), 0.0)
    if scale <= 0 or not known:
        return list(scores)
    return [_with(score, known[score.program_id], scale) if score.program_id in known else score for score in scores]


def _with(score: ProgramScore, one: PriorProgram, scale: float) -> ProgramScore:
    if score.shrunk_se <= 0:  # exact, as in a simulation without noise
        return score
    here, before = 1.0 / score.shrunk_se**2, 1.0 / (one.se * scale) ** 2
    mean = (here * score.shrunk_mean + before * one.ratio * scale) / (here + before)
    # What is known of the mean over several tasks is less certain for each of them.
    each = one.model_copy(update={"se": one.se * len(score.tasks) ** 0.5})
    tasks = tuple(_with(on, each, scale) for on in score.tasks)
    return replace(score, shrunk_mean=mean, shrunk_se=(here + before) ** -0.5, tasks=tasks)
