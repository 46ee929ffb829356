"""The experiment that doctor makes: it passes where the sandbox works, and says what is missing where it does not."""

from __future__ import annotations

import pytest

from meta.cli.doctor import train_small_task
from programs.common.errors import EnvironmentProblem
from trainer.sandbox import bwrap


@pytest.mark.slow
@pytest.mark.skipif(bwrap.probe() is not None, reason=str(bwrap.probe()))
def test_a_real_experiment_passes_in_the_sandbox_here() -> None:
    train_small_task()


def test_no_sandbox_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bwrap, "_binary", lambda: None)
    with pytest.raises(EnvironmentProblem, match="bwrap is not installed"):
        train_small_task()
