"""``metaloop simulate``: which effects a study of a given size would detect, by simulation."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from meta.cli import resolve
from meta.cli.options import flag, verb
from meta.cli.output import Column, Output
from meta.cli.progress import ticker
from programs.errors import UsageError

if TYPE_CHECKING:
    from meta.simulate import Design, Simulated, World

# prefer the opening race: the programs of later generations are selected, not a random sample
LIKE = """
SELECT r.program_id, coalesce(p.name, r.program_id) AS name, r.verified_gain AS gain, m.run_budget AS budget, m.purpose
FROM runs AS r JOIN matches AS m USING (match_id) LEFT JOIN programs AS p USING (program_id)
WHERE r.state = 'finished' AND r.verified_gain IS NOT NULL AND m.stream = 'selection'
ORDER BY r.run_id
"""
PROGRAMS, STOCK, SPREAD, NOISE = 8, 1.0, 0.2, 0.33
FIGURES = (
    Column("name", style="bold"),
    Column("value", right=True, style="green", show=lambda v: f"{v:.3f}"),
    Column("low", right=True, show=lambda v: f"{v:.3f}"),
    Column("high", right=True, show=lambda v: f"{v:.3f}"),
    Column("n", right=True),
    Column("meaning", wrap=True, style="dim"),
)
MOST = 1e9


@dataclass(frozen=True)
class LawFlags:
    """The flags that define the true gains and the noise; None where left out."""

    programs: Annotated[
        int | None, flag(f"Number of programs, stock included  [default: {PROGRAMS}].", min=2, max=1000)
    ]
    stock: Annotated[float | None, flag(f"True gain of stock  [default: {STOCK:g}].", metavar="GAIN")]
    spread: Annotated[
        float | None,
        flag(f"Standard deviation (SD) of the programs' true gains  [default: {SPREAD:g}].", min=0, metavar="SD"),
    ]
    noise: Annotated[float | None, flag(f"SD between runs of one program  [default: {NOISE:g}].", min=0, metavar="SD")]
    effects: Annotated[
        str | None, flag("True gain of each other program minus stock's, instead of --spread.", metavar="GAIN,…")
    ]
    drift: Annotated[
        float, flag("SD of a random shift that all gains of one match share.", min=0, metavar="SD", default=0.0)
    ]
    like: Annotated[str | None, flag("Estimate stock, spread and noise from a study.", metavar="STUDY")]


@verb(
    ("metaloop simulate --programs 8 --spread .2 --noise .33", "how often is the best program found?"),
    ("metaloop simulate --effects 0.3,0.1,0,0 -n 8 --confirm 40", "with your own effects"),
    ("metaloop simulate --like studies/NAME -n 8", "with the noise and spread of a study"),
)
def simulate(
    out: Output,
    law: LawFlags,
    seeds: Annotated[int, flag("Runs per program in the first round.", "-n", min=2, max=10_000, default=4)],
    rounds: Annotated[
        int, flag("Rounds of the race; each but the first halves programs, doubles runs.", min=1, max=12, default=2)
    ],
    confirm: Annotated[
        int, flag("Runs of the champion, and of stock, in the confirmation.", min=2, max=10_000, default=20)
    ],
    within: Annotated[
        float | None,
        flag(
            "Treat programs within this difference as equal to the best one  [default: spread / 10].",
            min=0,
            metavar="GAIN",
        ),
    ],
    replicates: Annotated[
        int,
        flag(
            "Number of simulated studies. As many again are simulated in which all programs are equal.",
            min=1,
            max=1_000_000,
            default=2000,
        ),
    ],
    seconds: Annotated[
        float,
        flag("Time limit; then prints the result so far.", min=0.1, max=86_400, metavar="S", default=20.0),
    ],
    null: Annotated[bool, flag("Only simulate studies in which all programs are equal.")],
    seed: Annotated[int, flag("Seed of the simulation.", min=0, default=1)],
) -> None:
    """Simulate many studies in which the true gain of every program is known. The race, the
    choice of the champion and its confirmation use the code of real studies. Prints how
    often the best program becomes the champion, the champion's true gain, how often the
    confirmation detects a champion that is better than stock (power), and how often it
    confirms one that is not (false positives). Each figure has a 95% interval, because the
    number of simulations is limited. Gains may be in any unit; with --stock 1 they are
    ratios to stock's gain. Trains nothing."""
    from meta.simulate import Design
    from meta.simulate import simulate as draw

    world, programs = world_of(law, out)
    design = Design(programs, seeds, rounds, confirm)
    out.note(f"assumed: {law_sentence(world)}")
    out.note(f"study: {design_sentence(design)}")
    with ticker(out) as progress:
        simulated = draw(
            world,
            design,
            replicates=0 if null else replicates,
            null_replicates=replicates,
            seconds=seconds,
            within=within,
            seed=seed,
            tell=lambda n: progress(f"{n} studies") if n % 500 == 0 else None,
        )
    present(out, simulated)


def world_of(law: LawFlags, out: Output) -> tuple[World, int]:
    """The true gains and noise, and the number of programs. Flags have priority over ``--like``."""
    from analysis.planted import RunLaw
    from meta.simulate import World

    known, count = read_like(law.like, out) if law.like else (World(STOCK, SPREAD, runs=RunLaw(sd=NOISE)), PROGRAMS)
    effects = effects_of(law.effects)
    numbers = (law.stock, law.spread, law.noise, law.drift)
    if any(not abs(number) < MOST for number in numbers if number is not None):
        raise UsageError("a gain or SD is out of range", hint=f"use finite numbers below {MOST:g}")
    programs = law.programs or (len(effects) + 1 if effects else count)
    if effects and len(effects) != programs - 1:
        message = f"--effects has {len(effects)} programs besides stock, but --programs {programs} counts all of them"
        raise UsageError(message, hint=f"--programs {len(effects) + 1}, or leave it out")
    if effects and law.spread is not None:
        raise UsageError("--effects and --spread exclude each other", hint="leave one of them out")
    runs = replace(known.runs, sd=known.runs.sd if law.noise is None else law.noise, drift=law.drift)
    stock = known.stock if law.stock is None else law.stock
    return World(stock, known.spread if law.spread is None else law.spread, effects, runs), programs


def effects_of(text: str | None) -> tuple[float, ...]:
    """The numbers of ``--effects``."""
    try:
        effects = tuple(float(word) for word in (text or "").split(",") if word.strip())
    except ValueError:
        raise UsageError(f"--effects {text!r} is not a list of numbers", hint="--effects 0.3,0.1,0") from None
    if any(not abs(effect) < MOST for effect in effects):
        raise UsageError(f"--effects {text!r} has a number out of range", hint="--effects 0.3,0.1,0")
    return effects


def read_like(study: str, out: Output) -> tuple[World, int]:
    """Gains and noise estimated from a study, and the number of programs it raced."""
    from meta.simulate import like
    from programs.shelf import starter

    folder = resolve.study_folder(study, out)
    with resolve.connect(folder, []) as con:
        rows = resolve.fetch(con, LIKE)
    opening = [row for row in rows if row["purpose"] == "race"] or rows
    gains: dict[str, list[float]] = {}
    for row in opening:
        gains.setdefault(row["program_id"], []).append(row["gain"])
    try:
        return like(gains, starter("stock").program_id), max(2, len(gains))
    except ValueError as error:
        hint = "use --noise and --spread, or name a study with a race"
        raise UsageError(f"the noise of {resolve.shown(Path(folder))} is unknown: {error}", hint=hint) from None


def law_sentence(world: World) -> str:
    """The assumed true gains and noise, in words."""
    effects = ", ".join(f"{effect:+.4g}" for effect in world.effects)
    drawn = f"the others' gains are normal around it with SD {world.spread:.4g}, drawn anew in each study"
    differ = f"the others differ from it by {effects}" if effects else drawn
    drift = f", between matches with SD {world.runs.drift:.4g}" if world.runs.drift else ""
    return (
        f"stock gains {world.stock:.4g}; {differ}; runs of a program vary normally with SD {world.runs.sd:.4g}{drift}"
    )


def design_sentence(design: Design) -> str:
    first, *more = design.stages
    kept = f"{first.keep or design.programs} × {first.runs} runs"
    kept += "".join(f", then the best {stage.keep or design.programs} up to {stage.runs} runs each" for stage in more)
    return (
        f"race of {design.programs} programs, stock included: {kept} ({design.race_runs} in all); "
        f"confirmation: {design.confirm} runs of the champion and {design.confirm} of stock; one-sided test at 2.5%"
    )


def present(out: Output, simulated: Simulated) -> None:
    if out.mode == "json":
        said = {"law": law_sentence(simulated.world), "study": design_sentence(simulated.design)}
        out.json(simulated.to_json() | {"said": said})
        return
    out.rows([asdict(figure) for figure in simulated.figures], FIGURES)
    early = " (stopped by --seconds)" if simulated.stopped_early else ""
    made = (
        f"simulated {simulated.replicates} studies, and {simulated.null_replicates} in which all programs are equal, "
        f"in {simulated.seconds:.1f} s{early}"
    )
    out.note(f"{made}; low and high: 95% Monte Carlo interval")
