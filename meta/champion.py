"""The champion: one pre-declared test on a stream that nothing has touched, and the page that supports each change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from analysis.statistics import Mean, Ratio, interval, mean_interval, ratio, shared_error, t_test, welch_difference
from analysis.trust import counts, marked, weakest
from arena.best_of import best_of
from arena.executor import Executor, Progress
from arena.match import Entry, Match, enter, play
from arena.race import Allocation
from arena.study import Study
from inner_loop.behaviour import behaviour_id, resolved_ideas
from meta.lineage import Lineage
from meta.plan import Plan
from programs.edit import replace_ideas, set_charter, unset_charter
from programs.program import Program
from programs.shelf import starter

LEVEL = 0.025
FINAL = ("confirmation", "reserve")  # purposes of the matches that only tell, and choose nothing


@dataclass(frozen=True)
class Claim:
    """What the confirmation says. Gains in the task's unit, positive is better; two-sided 95% intervals.

    ``difference`` is champion minus stock; ``p`` its one-sided Welch test, the one test that the study announces,
    held against LEVEL. The ratios to stock's mean gain carry one-sided 95% lower bounds (Fieller).
    """

    champion: Mean
    stock: Mean
    without_ideas: Mean | None
    difference: float
    low: float | None
    high: float | None
    p: float
    ratio: Ratio
    ratio_without_ideas: Ratio | None

    @property
    def holds(self) -> bool:
        return self.p < LEVEL


@dataclass(frozen=True)
class Elsewhere:
    """What a reserved task says. ``claim`` None: there the champion behaves like stock, and nothing was run."""

    task: str
    unit: str
    claim: Claim | None
    p_adjusted: float | None  # Holm over the reserved tasks; None where nothing was run
    holds: bool


@dataclass(frozen=True)
class Champion:
    program: Program
    claim: Claim
    verdict: str
    trust: str | None = None  # the weakest of the confirmation's verifications
    elsewhere: tuple[Elsewhere, ...] = ()  # on reserved tasks


def confirm(
    study: Study, executor: Executor, lineage: Lineage, champion: Program, plan: Plan, progress: Progress
) -> Claim:
    """Run champion, stock, the champion without its ideas and the other controls on fresh run seeds, once."""
    entered = arms(study, champion) + (controls(study) if plan.control_runs else [])
    match = enter(study, "confirmation", entered, purpose="confirmation", stream="confirmation")
    told = play_final(study, executor, lineage, champion, match, plan, "for the confirmation", progress)
    for arm in match.arms:
        if plan.best_of_seeds and arm.role in ("champion", "control"):
            best_of(study, executor, match, arm, plan.best_of_seeds)
    return told


def play_final(
    study: Study, executor: Executor, lineage: Lineage, champion: Program, match: Match, plan: Plan, reason: str,
    progress: Progress,
) -> Claim:  # fmt: skip
    """Write down who plays a match that only tells, play it, and read the claim from it."""
    few = {"without-ideas": plan.ablation_runs, "a/a": plan.control_runs, "one-line": plan.control_runs}
    runs = Allocation({arm.arm_id: few.get(arm.role, plan.confirm_runs) for arm in match.arms})
    for arm in match.arms:
        lineage.add(arm.program, operator=arm.role, parent_ids=[champion.program_id], reason=reason)
        study.admit(arm.program, generation=plan.generations, operator=arm.role, parent_ids=[champion.program_id])
    gains = {score.arm_id: score.gains for score in play(study, executor, match, runs, progress)}
    return claim({arm.role: gains[arm.arm_id] for arm in match.arms}, against(study, match.match_id))


@dataclass(frozen=True)
class Against:
    """What gains were measured against: the baseline's metrics over the shared seeds of the stream, and for each role
    the share of its verifications that were held against them (at the baseline's source, or failed, a run gains
    exactly 0 there)."""

    baseline: tuple[float, ...]
    touched: Mapping[str, float]


def against(study: Study, match_id: str) -> Against:
    """Of the match that confirms, as the ledger holds it."""
    match = study.history.matches[match_id]
    roles = {arm["arm_id"]: arm["role"] for arm in match["arms"]}
    held: dict[str, list[bool]] = {role: [] for role in roles.values()}
    for of_run in study.history.verifications.values():
        for event in of_run.values():
            if event["arm_id"] in roles:
                held[roles[event["arm_id"]]].append(event["status"] == "ok")
    measured = [row for key, row in study.history.baselines.items() if key[:2] == (match["task"], match["stream"])]
    metrics = [row["metric"] for row in measured if row["status"] == "ok"]
    return Against(tuple(metrics), {role: sum(seen) / max(1, len(seen)) for role, seen in held.items()})


def arms(study: Study, champion: Program) -> list[Entry]:
    stock = starter("stock")
    entered = [Entry(champion, "champion"), Entry(stock, "control")]
    bare = without_ideas(champion)
    behaviours = [behaviour_id(p, study.task, study.config.researcher) for p in (bare, champion)]
    if resolved_ideas(champion, study.task) and behaviours[0] != behaviours[1]:
        entered.append(Entry(bare, "without-ideas"))
    return entered


def controls(study: Study) -> list[Entry]:
    """What stands beside the champion to say how far figures of this table can be trusted; nothing tests them.

    Stock once more (A/A), and the one-line program where it does not behave like stock anyway.
    """
    stock, one_line = starter("stock"), starter("one-line")
    behaviours = {behaviour_id(p, study.task, study.config.researcher) for p in (stock, one_line)}
    return [Entry(stock, "a/a"), *([Entry(one_line, "one-line")] if len(behaviours) > 1 else [])]


def without_ideas(program: Program) -> Program:
    """The program with an empty idea list and no queue: its process alone, so that memory is told from method."""
    text = replace_ideas(program.text, [])
    if "queue" in program.charter.proposers:
        rest = {k: v for k, v in program.charter.proposers.items() if k != "queue"}
        text = set_charter(text, "proposers", rest) if rest else unset_charter(text, "proposers")
    return Program.parse(text, f"{program.name}-without-ideas")


def claim(gains: Mapping[str, Sequence[float]], measured: Against | None = None) -> Claim:
    """The one test. Without ``measured`` the baseline is taken as known, not as a mean over a few seeds."""
    best, stock, bare = gains["champion"], gains["control"], gains.get("without-ideas")
    touched = measured.touched if measured else {}
    baseline = measured.baseline if measured else ()
    ours, stocks, bares = (touched.get(role, 0.0) for role in ("champion", "control", "without-ideas"))
    error = shared_error(baseline, ours, stocks)
    difference, se, df = welch_difference(best, stock, error)
    low, high = interval(difference or 0.0, se, df)
    p = one_sided(difference or 0.0, t_test(difference or 0.0, se, df))
    return Claim(
        champion=mean_interval(best), stock=mean_interval(stock), without_ideas=mean_interval(bare) if bare else None,
        difference=difference or 0.0, low=low, high=high, p=p,
        ratio=ratio(best, stock, baseline=baseline, touched=(ours, stocks)),
        ratio_without_ideas=ratio(bare, stock, baseline=baseline, touched=(bares, stocks)) if bare else None,
    )  # fmt: skip


def one_sided(difference: float, two_sided: float | None) -> float:
    """p of "no better"; 1 where there is no test, which a side with fewer than two runs does not allow."""
    if two_sided is None:
        return 1.0
    return two_sided / 2 if difference > 0 else 1.0 - two_sided / 2


def crown(
    study: Study, lineage: Lineage, program: Program, claim: Claim, elsewhere: Sequence[Elsewhere] = ()
) -> Champion:
    """Write champion.md and champion.evidence.md, then the claim into the ledger: with that the study has ended.

    In this order a study that is killed in between goes on, and writes them again.
    """
    verified = [event for of_run in study.history.verifications.values() for event in of_run.values()]
    trust = weakest(event["trust"] for event in verified if event["stream"] == "confirmation" and counts(event))
    said = "; ".join([verdict(program, claim, study.task.unit, trust), *map(sentence, elsewhere)])
    champion = Champion(program, claim, said, trust, tuple(elsewhere))
    lineage.crown(program.program_id)
    write_whole(study.folder / "champion.md", program.raw)
    write_page(study, champion)
    if study.history.champion is None:
        study.record({"kind": "champion", "program_id": program.program_id, "name": program.name,
                      "verdict": champion.verdict, "holds": claim.holds, "trust": trust, **asdict(claim),
                      **({"reserve": [asdict(there) for there in elsewhere]} if elsewhere else {})})  # fmt: skip
    return champion


def write_page(study: Study, champion: Champion) -> None:
    from meta.evidence_page import evidence_page

    write_whole(study.folder / "champion.evidence.md", evidence_page(study, champion).encode("utf-8"))


def write_whole(path: Path, data: bytes) -> None:
    """A reader finds the old file or the new one, never a part of either."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    partial.replace(path)


def write_page_again(study: Study) -> bool:
    """champion.evidence.md from what the ledger holds by now, the claim as recorded; False without a champion."""
    event = study.history.champion
    if event is None:
        return False
    elsewhere = tuple(
        Elsewhere(**{**there, "claim": recorded(there["claim"]) if there["claim"] else None})
        for there in event.get("reserve", ())
    )
    program = study.program(event["program_id"])
    champion = Champion(program, recorded(event), event["verdict"], event["trust"], elsewhere)
    write_page(study, champion)
    return True


def recorded(event: Mapping[str, Any]) -> Claim:
    """A claim from the figures of its record."""
    means = {k: Mean(**event[k]) if event[k] else None for k in ("champion", "stock", "without_ideas")}
    ratios = {k: Ratio(**event[k]) if event[k] else None for k in ("ratio", "ratio_without_ideas")}
    return Claim(**means, **ratios, **{k: event[k] for k in ("difference", "low", "high", "p")})  # type: ignore[arg-type]


def verdict(program: Program, claim: Claim, unit: str, trust: str | None = None) -> str:
    """One sentence that says what was confirmed, or that nothing was, and how little it can be trusted if so."""
    doubt = f"; {marked(trust)}" if marked(trust) else ""
    ours, stocks = figure(claim.champion), figure(claim.stock)
    figures = f"gain {ours} {unit} against {stocks} of stock; {claim.champion.n} and {claim.stock.n} fresh runs"
    if not claim.holds:
        return f"{program.name} is not shown to beat stock ({figures}; one-sided p = {claim.p:.2g}){doubt}"
    return f"{program.name} beats stock{times(claim.ratio)} ({figures}; one-sided p = {claim.p:.2g}){doubt}"


def sentence(found: Elsewhere) -> str:
    """One reserved task for people, as the verdict goes on."""
    if found.claim is None:
        return f"on {found.task}, which evolution never saw, it behaves like stock"
    there = found.claim
    figures = f"gain {figure(there.champion)} {found.unit} against {figure(there.stock)} of stock"
    tested = f"p = {found.p_adjusted:.2g} after Holm"
    if found.holds:
        return (
            f"on {found.task}, which evolution never saw, it beats stock too{times(there.ratio)} ({figures}; {tested})"
        )
    return f"on {found.task}, which evolution never saw, it is not shown to beat stock ({figures}; {tested})"


def figure(mean: Mean) -> str:
    if mean.mean is None:
        return "not measured"
    if mean.low is None or mean.high is None:
        return f"{mean.mean:.4g}"
    return f"{mean.mean:.4g} [{mean.low:.4g}, {mean.high:.4g}]"


def times(ratio: Ratio) -> str:
    if ratio.ratio is None:
        return ""
    bound = "no lower bound" if ratio.lower is None else f"at least {ratio.lower:.2f}"
    return f", {ratio.ratio:.2f} times its gain ({bound})"
