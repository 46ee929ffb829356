"""Numbers that a source claims: what it prints, sums or counts by itself is not what it is judged by."""

from __future__ import annotations

import pytest

from tests.redteam.conftest import Attack


@pytest.mark.exploit(1)
@pytest.mark.parametrize("task", ["points", "letters"])
def test_printing_a_metric(attack: Attack, task: str) -> None:
    """1 printing a metric: shown in the log, used for nothing."""
    lie = "print('nll: 0.0\\nmetric: 0.0\\nval_bpb: 0.000001\\nbits_per_byte: -5\\nsteps: 7')\n"
    case = attack(task, top=lie, train=lie)
    case.assert_no_gain()
    case.assert_same()
    assert "val_bpb: 0.000001" in case.scored.log
    assert case.row.metric != 0.0
