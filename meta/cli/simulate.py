"""``metaloop simulate``: what a study of some size would tell, under a law of one's own, before anything is spent."""

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

# one opening race on the selection stream where there is one: evolved children are no sample of programs
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
    """The flags that make the law; None where left out."""

    programs: Annotated[int | None, flag(f"Programs raced, with stock  [default: {PROGRAMS}].", min=2, max=1000)]
    stock: Annotated[float | None, flag(f"True gain of stock  [default: {STOCK:g}].", metavar="GAIN")]
    spread: Annotated[
        float | None, flag(f"Sd of true gains between programs  [default: {SPREAD:g}].", min=0, metavar="SD")
    ]
    noise: Annotated[
        float | None, flag(f"Sd between the runs of one program  [default: {NOISE:g}].", min=0, metavar="SD")
    ]
    effects: Annotated[str | None, flag("True gains over stock's, one for each other program.", metavar="GAIN,…")]
    drift: Annotated[float, flag("Sd between matches.", min=0, metavar="SD", default=0.0)]
    like: Annotated[str | None, flag("Take stock, spread and noise from a study.", metavar="STUDY")]


@verb(
    ("metaloop simulate --programs 8 --spread .2 --noise .33", "would it find the best?"),
    ("metaloop simulate --effects 0.3,0.1,0,0 -n 8 --confirm 40", "effects of your own"),
    ("metaloop simulate --like studies/NAME -n 8", "noise and spread of a study you have"),
)
def simulate(
    out: Output,
    law: LawFlags,
    seeds: Annotated[int, flag("Runs of each program in the first round.", "-n", min=2, max=10_000, default=4)],
    rounds: Annotated[int, flag("Each later one halves the programs and doubles the runs.", min=1, max=12, default=2)],
    confirm: Annotated[int, flag("Fresh runs of the champion, and of stock.", min=2, max=10_000, default=20)],
    within: Annotated[
        float | None, flag("As good as the best  [default: a tenth of the spread].", min=0, metavar="GAIN")
    ],
    replicates: Annotated[
        int, flag("Studies to draw, and as many without any difference.", min=1, max=1_000_000, default=2000)
    ],
    seconds: Annotated[
        float, flag("Time after which it ends with what it has.", min=0.1, max=86_400, metavar="S", default=20.0)
    ],
    null: Annotated[bool, flag("Only studies in which no program is better.")],
    seed: Annotated[int, flag("Of what is drawn.", min=0, default=1)],
) -> None:
    """Draw many studies under a stated law, race, crown and confirm each by the code
    that real ones go through, and say how often that finds the best program, what
    the champion is truly worth, how often its claim holds, and how often one holds
    where nothing differs. Each figure with its 95% Monte-Carlo interval. Gains are in
    any unit; with stock at 1 they are ratios. No device time is spent."""
    from meta.simulate import Design
    from meta.simulate import simulate as draw

    world, programs = world_of(law, out)
    design = Design(programs, seeds, rounds, confirm)
    out.note(f"law: {law_sentence(world)}")
    out.note(f"study: {design_sentence(design)}")
    with ticker(out) as told:
        found = draw(
            world, design, replicates=0 if null else replicates, null_replicates=replicates, seconds=seconds,
            within=within, seed=seed, tell=lambda n: told(f"{n} studies") if n % 500 == 0 else None,
        )  # fmt: skip
    present(out, found)


def world_of(asked: LawFlags, out: Output) -> tuple[World, int]:
    """The law, and how many programs it is about. Flags go before what ``--like`` found."""
    from analysis.planted import RunLaw
    from meta.simulate import World

    known, count = read_like(asked.like, out) if asked.like else (World(STOCK, SPREAD, runs=RunLaw(sd=NOISE)), PROGRAMS)
    effects = effects_of(asked.effects)
    numbers = (asked.stock, asked.spread, asked.noise, asked.drift)
    if any(not abs(number) < MOST for number in numbers if number is not None):
        raise UsageError("a gain or sd is no usable number", hint=f"give finite numbers below {MOST:g}")
    programs = asked.programs or (len(effects) + 1 if effects else count)
    if effects and len(effects) != programs - 1:
        message = f"--effects names {len(effects)} programs beside stock, --programs says {programs} in all"
        raise UsageError(message, hint=f"--programs {len(effects) + 1}, or leave it out")
    if effects and asked.spread is not None:
        raise UsageError("--effects and --spread both say how programs differ", hint="leave one of them out")
    runs = replace(known.runs, sd=known.runs.sd if asked.noise is None else asked.noise, drift=asked.drift)
    stock = known.stock if asked.stock is None else asked.stock
    return World(stock, known.spread if asked.spread is None else asked.spread, effects, runs), programs


def effects_of(text: str | None) -> tuple[float, ...]:
    """The numbers of ``--effects``."""
    try:
        found = tuple(float(word) for word in (text or "").split(",") if word.strip())
    except ValueError:
        raise UsageError(f"--effects {text!r} is no list of numbers", hint="--effects 0.3,0.1,0") from None
    if any(not abs(effect) < MOST for effect in found):
        raise UsageError(f"--effects {text!r} holds no usable number", hint="--effects 0.3,0.1,0")
    return found


def read_like(study: str, out: Output) -> tuple[World, int]:
    """The law that a study's ledger speaks of, and how many programs it raced."""
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
        hint = "give --noise and --spread, or name a study that has raced"
        raise UsageError(f"{resolve.shown(Path(folder))} tells no noise: {error}", hint=hint) from None


def law_sentence(world: World) -> str:
    """The law in words; every figure holds for it alone."""
    told = ", ".join(f"{effect:+.4g}" for effect in world.effects)
    differ = f"the others differ from it by {told}" if told else (
        f"the others' normal around it, sd {world.spread:.4g}, drawn anew in each study"
    )  # fmt: skip
    drift = f", drift between matches sd {world.runs.drift:.4g}" if world.runs.drift else ""
    return f"stock gains {world.stock:.4g}; {differ}; runs of a program normal, sd {world.runs.sd:.4g}{drift}"


def design_sentence(design: Design) -> str:
    kept = " → ".join(f"{stage.keep or design.programs} × {stage.runs}" for stage in design.stages)
    return (
        f"{design.programs} programs, stock among them, raced {kept} ({design.race_runs} runs); "
        f"champion and stock {design.confirm} times each to confirm; one-sided test at 2.5%"
    )


def present(out: Output, found: Simulated) -> None:
    if out.mode == "json":
        said = {"law": law_sentence(found.world), "study": design_sentence(found.design)}
        out.json(found.to_json() | {"said": said})
        return
    out.rows([asdict(figure) for figure in found.figures], FIGURES)
    early = "; --seconds ended it before --replicates" if found.stopped_early else ""
    made = (
        f"{found.replicates} studies and {found.null_replicates} without a difference in {found.seconds:.1f} s{early}"
    )
    out.note(f"{made}; low and high: 95% Monte-Carlo interval")
