"""The effect of following a directive, if some runs of programs that have it followed it and some did not.

A run follows a directive if one of its experiments cites it; a scripted researcher cites what it carries out. If
the effect of *having* the directive is known from a randomised or paired comparison, the effect of *following* it is
this effect divided by the share of runs that followed (Bloom 1984). It inherits the design and assumes in addition
that a directive which is not followed has no effect. Otherwise runs that followed are compared with runs of the same
arm that did not: observational, because a run that reached the directive may be a better run anyway.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.credit import Design, DirectiveEffect
from analysis.directive_effects import EffectEstimate, Key, credited
from analysis.method_input import MethodInput
from analysis.regression import RegressionEffect
from analysis.scope import Scope

RANK = {"factorial": 0, "having": 1}


@dataclass(frozen=True)
class FollowedArm:
    """An arm whose program has a directive: its verified runs that followed the directive, and those that did not.

    The mean of a group is None without runs, its variance below two.
    """

    directive_id: str
    followed: int
    passed: int
    followed_mean: float | None
    passed_mean: float | None
    followed_variance: float | None
    passed_variance: float | None


def following_credits(scope: Scope, causal: Sequence[DirectiveEffect]) -> list[DirectiveEffect]:
    """A row per directive that some runs followed and others did not; ``causal``: the rows of having it."""
    arms: dict[str, list[FollowedArm]] = defaultdict(list)
    for arm in scope.rows("followed_arms", FollowedArm):
        arms[arm.directive_id].append(arm)
    best = {row.directive_id: row for row in sorted(causal, key=lambda r: -RANK.get(r.method, 2))}
    estimates: dict[Key, EffectEstimate] = {}
    for directive, own in arms.items():
        followed, passed = sum(arm.followed for arm in own), sum(arm.passed for arm in own)
        having = best.get(directive)
        effect = bloom(having, followed, followed + passed) if having else within_arms(own)
        if followed and passed and effect is not None:
            design: Design = having.design if having else "observational"
            n = having.n if having else followed + passed
            estimates[directive, None, None] = EffectEstimate(effect, n, design, followed, followed + passed)
    return credited(scope, "following", estimates)


def bloom(having: DirectiveEffect, followed: int, held: int) -> RegressionEffect | None:
    """Effect of having, divided by the share that followed, including the error of that share (delta method)."""
    if not followed:
        return None
    share = followed / held
    estimate = having.estimate / share
    if having.se is None:
        return RegressionEffect(estimate, None, 0.0)
    return RegressionEffect(
        estimate, math.hypot(having.se, estimate * math.sqrt(share * (1 - share) / held)) / share, having.df
    )


def within_arms(arms: Sequence[FollowedArm]) -> RegressionEffect | None:
    """Followed minus not followed, arm by arm, weighted as least squares with an intercept per arm weights them."""
    both = [a for a in arms if a.followed > 1 and a.passed > 1]
    weights = [a.followed * a.passed / (a.followed + a.passed) for a in both]
    total = math.fsum(weights)
    if not both:
        return None
    estimate = variance = squares = 0.0
    for arm, weight in zip(both, weights, strict=True):
        estimate += weight / total * ((arm.followed_mean or 0.0) - (arm.passed_mean or 0.0))
        for spread, n in ((arm.followed_variance, arm.followed), (arm.passed_variance, arm.passed)):
            part = (weight / total) ** 2 * (spread or 0.0) / n
            variance, squares = variance + part, squares + part**2 / (n - 1)
    if variance == 0.0:
        return RegressionEffect(estimate, None, 0.0)
    return RegressionEffect(estimate, math.sqrt(variance), variance**2 / squares)


def make(known: MethodInput) -> list[DirectiveEffect]:
    causal = [row for name in RANK for row in known.rows(name) if isinstance(row, DirectiveEffect)]
    return following_credits(known.scope, causal)
