"""The bandit asks more often what gained more per cost, passes over what is refused, and stays deterministic."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from analysis.effects.rows import MutationCredit
from analysis.ledger.writing_events import MutationEvent
from meta.mutators.bandit import SECONDS_PER_USD, ArmPosterior, Bandit, arm_histories, believe
from meta.mutators.base import ChildProposal, ModelCalls
from meta.mutators.mix import Mix
from tests.events import example

MODEL = "openai/test"


@dataclass
class Asking:
    name: str
    open: bool = True
    parents: int = 1
    model: str = MODEL

    def propose(self, *_: Any) -> None:
        return None

    def report(self, *_: Any) -> None:
        """What siblings tried is no concern of these tests."""


def event(number: int, operator: str, usd: float | None = 0.0, **more: Any) -> MutationEvent:
    base = {"child_id": f"{operator}{number}", "operator": operator, "model": MODEL, "usd": usd, "accepted": True}
    return example(MutationEvent, **(base | more))


def gained(child: str, estimate: float) -> MutationCredit:
    return MutationCredit(
        credit_id="c", task="t", estimate=estimate, se=0.05, low=None, high=None, n=4, q=None, design="paired",
        unit="nats", child_id=child, name=child, operator="x", parent_ids=("p",),
    )  # fmt: skip


def drawn(bandit: Bandit, times: int = 300) -> Counter[tuple[str, str | None]]:
    rng = np.random.default_rng(1)
    found = [bandit.draw(rng) for _ in range(times)]
    return Counter((m.name, getattr(m, "model", None)) for m in found)


def bandit(events: list[MutationEvent], gains: dict[str, float], first_usd: float = 0.0, **how: Any) -> Bandit:
    arms = arm_histories(events, [gained(child, gain) for child, gain in gains.items()])
    return Bandit(Mix(), [Asking("add", **how), Asking("bold", **how)], arms, 60.0, {MODEL: first_usd})


def test_what_gained_more_is_asked_more() -> None:
    events = [event(n, name) for n in range(6) for name in ("add", "bold")]
    gains = {f"add{n}": 0.3 + 0.01 * n for n in range(6)} | {f"bold{n}": -0.3 + 0.01 * n for n in range(6)}
    counts = drawn(bandit(events, gains))
    assert counts["add", MODEL] > 3 * counts["bold", MODEL]
    assert counts == drawn(bandit(events, gains))


def test_what_costs_more_is_asked_less() -> None:
    cheap, dear = drawn(bandit([], {})), drawn(bandit([], {}, first_usd=1.0))
    models = [("add", MODEL), ("bold", MODEL)]
    assert sum(dear[name] for name in models) < 0.5 * sum(cheap[name] for name in models)
    assert dear.total() == cheap.total() and len(cheap) == 6


def test_a_model_is_heard_once_in_each_generation_whatever_it_costs() -> None:
    dear, rng = bandit([], {}, first_usd=1000.0), np.random.default_rng(2)
    assert getattr(dear.draw(rng), "model", None) == MODEL
    dear.report(ChildProposal("", "bold", "r", (), ("p",), ModelCalls(MODEL, 10, None, 1, (), "p0")), "")
    assert not any(getattr(dear.draw(rng), "model", None) for _ in range(20))
    silent = bandit([], {}, first_usd=1000.0)  # which has nothing to propose
    assert [getattr(silent.draw(rng), "model", None) for _ in range(9)] == [MODEL] * 3 + [None] * 6


def test_what_is_refused_is_asked_less() -> None:
    bored = bandit([], {})
    asked = ModelCalls(MODEL, 10, None, 1, (), "p0")
    for _ in range(20):
        bored.report(ChildProposal("", "bold", "r", (), ("p",), asked), "behaves like p1")
    assert drawn(bored)["bold", MODEL] < 0.4 * drawn(bandit([], {}))["bold", MODEL]


def test_a_closed_desk_shifts_no_other_number() -> None:
    assert not any(model for _, model in drawn(bandit([], {}, open=False)))


def test_a_repaired_reply_counts_for_the_operator_that_was_asked() -> None:
    arms = arm_histories(
        [event(1, "bold", 0.2, accepted=False), event(2, "repair", None, repairs="bold")], [gained("repair2", 1.0)]
    )
    [(name, arm)] = arms.items()
    assert name == ("bold", MODEL) and (arm.attempts, arm.children, arm.usd) == (2, 1, 0.2)
    assert arm.effects == [(1.0, pytest.approx(0.0025))]


def test_worth_is_expected_gain_per_device_second() -> None:
    assert ArmPosterior(0.0, 1.0, 2.0, 2.0).worth(1.0) == pytest.approx(0.6978, rel=1e-4)
    [known] = believe([("bold", MODEL)], {}, 60.0, {MODEL: 0.1})
    assert known.cost == 60.0 + 0.1 * SECONDS_PER_USD
