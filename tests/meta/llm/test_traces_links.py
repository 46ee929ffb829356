"""Links that somebody planted in a study: no trace is written through one, no log is read through one."""

from __future__ import annotations

from pathlib import Path

import pytest

from inner_loop.models.scrub import scrub
from meta.mutators.llm import traces
from programs.errors import Corrupt


def experiment(number: int) -> traces.TraceExperiment:
    tried = traces.TriedExperiment(
        run_id="r1", number=number, experiment_id=f"x{number}", parent_number=None, status="ok", decision=None,
        reason=None, outcome_reason=None, metric=1.0, gain=None, delta=None, fraction=1.0, replicate=0, cost=None,
        description=None, directive_ids=None, edit=None, diff=None,
    )  # fmt: skip
    return traces.TraceExperiment.of(tried, "")


def test_no_trace_is_written_through_a_link(tmp_path: Path) -> None:
    study, outside = tmp_path / "study", tmp_path / "outside"
    (study / "traces" / "runs").mkdir(parents=True)
    outside.mkdir()
    (outside / "mine").write_text("mine")
    (study / "traces" / "runs" / "p1").symlink_to(outside)
    (study / "traces" / "programs").symlink_to("../../outside")
    (study / "traces" / "page.md").symlink_to(outside / "mine")
    for name in ("runs/p1/r1.txt", "programs/p1.md", "runs/p1/deeper/r1.txt"):
        with pytest.raises(Corrupt, match="leaves the study through a link"):
            traces._write(study, name, "told")
    traces._write(study, "page.md", "told")
    traces._write(study, "runs/p2/r1.txt", "told")
    assert [p.name for p in outside.iterdir()] == ["mine"] and (outside / "mine").read_text() == "mine"
    page = study / "traces" / "page.md"
    assert page.read_text() == "told" and not page.is_symlink()
    linked = tmp_path / "linked"
    linked.symlink_to(study)  # how the study itself is named is the user's affair
    traces._write(linked, "runs/p3/r1.txt", "told")


def test_no_log_is_read_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "sk-canary-0123456789"
    monkeypatch.setenv("CANARY_KEY", secret)
    logs = tmp_path / "logs"
    logs.mkdir()
    (tmp_path / "private").write_text("of the user")
    (logs / "0000.log").write_text(secret + "x" * (traces.MOST_LOG - 5))
    (logs / "0001.log").symlink_to(tmp_path / "private")
    told = traces._logs(logs, [experiment(n) for n in (0, 1, 2)])
    assert "experiment 0" in told and "of the user" not in told
    assert "56789" not in scrub(told)  # the cut went through the secret
    (tmp_path / "linked").symlink_to(logs)
    assert traces._logs(tmp_path / "linked", [experiment(0)]).startswith("experiment 0")
