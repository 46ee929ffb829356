"""Planned ablations: the effect of each directive of a program, averaged over the settings of the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.effects import designs
from analysis.effects.experiments import MethodInput
from analysis.effects.rows import CreditRow, figures
from analysis.statistics import Estimate, holm, pooled
from analysis.views.scope import Scope
from programs.common.ids import content_id

SCORE, LEVEL = "score a turn", 0.05


@dataclass(frozen=True)
class AblationRun:
    """A verified run of a planned ablation, or a turn of it; ``held``: those of the factors that its program had.
    ``texts``: what the factors say; ``block``: the run seed, or a night's block; ``gain``: of a turn its score;
    ``behaviour``: of a turn what the researcher did (`queries/effects/scored_turns.sql`)."""

    match_id: str
    program_id: str
    factors: list[str]
    texts: list[str]
    block: str
    gain: float
    held: list[str]
    behaviour: list[float]


def factorial_credits(scope: Scope) -> list[CreditRow]:
    """One row per factor of each ablation, best first; ``p_holm``: corrected over those of one; ``shrunk``: pooled over
    all of them; ``q`` is still missing.

    The factors of a run come from its program, not from the plan, so that a directive that was removed together with
    its enclosing one counts as removed.
    """
    matches: dict[str, list[AblationRun]] = defaultdict(list)
    for row in ablation_runs(scope):
        matches[row.match_id].append(row)
    effects = []
    for runs in matches.values():
        fitted = effects_on([run.gain for run in runs], runs)
        corrected = holm([1.0 if effect is None else effect.p() or 1.0 for effect in fitted])
        rows = zip(runs[0].factors, runs[0].texts, fitted, corrected, follows(runs), strict=True)
        effects += [
            (runs, directive, text, effect, p, f) for directive, text, effect, p, f in rows if effect is not None
        ]
    out, shrunken = [], pooled([effect for *_, effect, _, _ in effects])
    for (runs, directive, text, effect, p, followed), shrunk in zip(effects, shrunken, strict=True):
        program_id, match_id, shrunk = runs[0].program_id, runs[0].match_id, shrunk or Estimate()
        of_turns = bool(runs[0].behaviour)
        out.append(CreditRow(
            credit_id=content_id("c", "factorial", scope.task, directive, program_id, match_id), method="factorial",
            task=scope.task, **figures(effect), n=len(runs), design="randomised", label=text,
            unit=SCORE if of_turns else scope.unit, stream="search" if of_turns else "selection",
            directive_id=directive, program_id=program_id, match_id=match_id, shrunk=shrunk.value, shrunk_se=shrunk.se,
            p_holm=p if effect.se else None, is_followed=followed,
        ))  # fmt: skip
    return sorted(out, key=lambda c: (-c.gain, c.credit_id))


def ablation_runs(scope: Scope) -> list[AblationRun]:
    """The runs and turns of all planned ablations on a task."""
    scope.table("effects/scored_turns")
    runs = scope.rows("effects/factorial_runs", AblationRun)
    scope.con.execute("DROP TABLE scored_turns")
    return runs


def effects_on(values: Sequence[float], runs: Sequence[AblationRun]) -> list[Estimate | None]:
    """The effect of each factor on a value of the runs of one ablation. Turns of one program count as alike, because
    what answers them may have a memory, and because the program's text may do more than its factors one by one; where a
    design has fewer than eight programs, they count as independent."""
    held = [[factor in run.held for factor in run.factors] for run in runs]
    programs = [frozenset(run.held) for run in runs] if runs and runs[0].behaviour else []
    units = programs if len(set(programs)) >= designs.FEWEST_UNITS else None
    return designs.estimate(held, values, [run.block for run in runs], units)


def follows(runs: Sequence[AblationRun]) -> list[bool | None]:
    """Of each factor, whether any behaviour differs where it is held: p below LEVEL divided by their number. None where
    there are no turns."""
    behaviours = list(zip(*(run.behaviour for run in runs), strict=True))
    if not behaviours:
        return [None] * len(runs[0].factors)
    fitted = zip(*(effects_on(values, runs) for values in behaviours), strict=True)
    ps = [[effect.p() for effect in effects if effect is not None] for effects in fitted]
    return [
        min((p for p in values_of_factor if p is not None), default=1.0) * len(behaviours) < LEVEL
        for values_of_factor in ps
    ]


def make(known: MethodInput) -> list[CreditRow]:
    return factorial_credits(known.scope)
