"""Weights in a source's text: what the scan counts."""

from __future__ import annotations

from dataclasses import replace

from arena.audit import embedded
from arena.audit.verify import How, Round, Sample, Taken, findings
from arena.work.jobs import Measurement
from tests.inner_loop.play import BLOBS
from trainer.streams import Streams
from trainer.task import Task

DATA = "a" * (9 << 10)
TASK = Task.load(BLOBS)


def test_data_is_found_wherever_it_is_hidden() -> None:
    numbers = "[" + "0.123456789, " * 900 + "]"
    source, longer = TASK.baseline(), "\n# a remark\nTABLE = [0.1, 0.2]\n" * 50
    for line in (
        f'W = "{DATA}"', f"W = b'{DATA}'", f"W = f'{{1}}{DATA}'", f"# {DATA}", f"{DATA} = 1", f"W = 0x{DATA}",
        f"W = {numbers}", f'"""{DATA}', f"def x:\n{DATA}",
    ):  # fmt: skip
        (finding,) = embedded.scan(TASK, source.with_text("train.py", f"{source.text()}\n{line}\n"))
        assert finding.startswith("embedded: ") and finding.endswith("KB of literals beyond the baseline's")
    assert (
        embedded.scan(TASK, source) == embedded.scan(TASK, source.with_text("train.py", source.text() + longer)) == ()
    )


def test_a_check_finds_a_score_that_no_seed_moves() -> None:
    same = tuple(Measurement(seed, "ok", 0.5, "", "", 0.0, 0.0) for seed in (1, 2))
    other = tuple(replace(one, metric=0.4 + 0.1 * one.seed) for one in same)
    taken = {name: Taken(Sample(name, TASK.baseline(), 2), each, same_rows=each[1])
             for name, each in (("run", same), ("baseline", other))}  # fmt: skip
    (found,) = findings(Round(TASK, How(Streams.from_seed(1)), taken, ()), {"run": "r1"})
    assert (found.finding, found.run_id) == ("seeds", "r1")
