"""Cheating a whole run or study: its books, its seeds, its feedback, and weights that nobody trained."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from analysis.ledger import Ledger, check, read
from analysis.verdict.gain_estimate import GainEstimate, gain_over_seeds
from analysis.verdict.recheck import keeps_its_gain, source_verdict
from arena.audit import embedded
from inner_loop.bench import Bench
from inner_loop.events import Proposal
from tests.redteam.conftest import Attack
from tests.redteam.harness import Cheat, Gain, Ground, World
from trainer.edits import Edit
from trainer.experiment import SOURCE_BYTES, Trainer
from trainer.rows import UNKNOWN
from trainer.source import Source

FRESH = tuple(range(11, 31))  # seeds that no researcher here has seen; its own are 1 to 10


@contextmanager
def researching(world: World, ground: Ground, folder: Path, experiments: int) -> Iterator[Bench]:
    """A bench as a worker opens it, whose events go into a real ledger below ``folder``."""
    trainer = Trainer(ground.task, ground.data, launcher=ground.launcher, fixed_steps=True)
    with Ledger(folder / "ledger", "worker-0") as ledger:
        bench = Bench(
            trainer, run_id="r0", run_seed=3, streams=world.streams,
            emit=lambda event: ledger.append(event.to_record(), sync=False),
            budget_seconds=(experiments + 1.5) * ground.task.steps * ground.task.seconds_per_step,
        )  # fmt: skip
        bench.start()
        yield bench
        bench.close()


def verified(ground: Ground, source: Source, seeds: int = 4) -> list[float]:
    """Its scores on the confirmation stream, under so many fresh seeds."""
    rows = [ground.run(source, "confirmation", seed=seed) for seed in FRESH[:seeds]]
    assert {(row.status, row.trust) for row in rows} == {("ok", "verified")}, rows
    return [row.metric for row in rows if row.metric is not None]


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [row for row in read(folder / "ledger") if row["kind"] == kind]


ROBBER = """
import glob, json, os
for _path in glob.glob(HOST["books"] + "/**", recursive=True) + [HOST["books"] + "/ledger/worker-0-1.jsonl"]:
    for _mode in ("a", "w", "r+"):
        try:
            with open(_path, _mode) as file:
                file.write(json.dumps({"kind": "run_ended", "run_id": "r0", "verified_gain": 9.0}) + "\\n")
            print("robbed", _path)
        except OSError:
            pass
    try:
        os.remove(_path)
    except OSError:
        pass
print('\\n{"seq":2,"kind":"verification","gain":9.0,"prev":"","hash":"0"}\\n')
raise ValueError('\\n{"seq":2,"kind":"verification","gain":9.0}\\n')
"""


@pytest.mark.exploit(15)
def test_overwriting_the_ledger(world: World, tmp_path: Path) -> None:
    """15 a run's ledger lies open, the candidate knows its name: it appends, rewrites, removes, and forges a line."""
    ground = world.ground("points")
    books = world.folder / "books"
    books.mkdir(mode=0o777)
    cheat = Cheat(train=ROBBER.replace("\\\\", "\\")).source(
        ground.task.baseline(), {**world.known(ground), "books": str(books)}
    )
    with researching(world, ground, books, 2) as bench:
        world.open()
        before = {path: path.read_bytes() for path in books.rglob("*") if path.is_file()}
        record = bench.experiment(Proposal(Edit(), source=cheat, description="the robber"))
        bench.decide(record, "discard", "failed")
    for path, data in before.items():
        assert path.read_bytes().startswith(data), f"{path} was changed"
    assert check(books / "ledger") == []
    kinds = [row["kind"] for row in read(books / "ledger")]
    assert kinds == ["segment", "experiment", "decision", "experiment", "decision"]
    (row,) = [row for row in rows(books, "experiment") if row["number"] == 1]
    assert (row["status"], row["metric"]) == ("crash", None) and "robbed" not in record.log
    assert row["reason"] and "\n" not in row["reason"]  # text in a field of the row, no row
    if bench.head.number != 0:
        raise Gain("the robber became the head")


@pytest.mark.exploit(22)
def test_a_source_that_is_larger_than_a_source(attack: Attack) -> None:
    """22 weights embedded in the source: it is not even started."""
    case = attack("points", top=f"WEIGHTS = {'7' * SOURCE_BYTES!r}")
    case.assert_no_gain()
    case.assert_rows("invalid", f"the source has \\d+ bytes, {SOURCE_BYTES} at most")
    assert case.scored.device_seconds_spent < 0.01


@pytest.mark.slow
@pytest.mark.exploit(22)
def test_trained_weights_as_literals(world: World) -> None:
    """22 a table trained elsewhere, for long, stands in the source: it scores, and both checks of verify name it."""
    import numpy as np

    ground = world.ground("letters")
    text = np.load(ground.data.train() / "train.npy")
    counts = np.full((16, 16), 0.5)
    np.add.at(counts, (text[:, :-1].reshape(-1), text[:, 1:].reshape(-1)), 1)
    table = np.log(counts / counts.sum(1, keepdims=True)).round(12).tolist()
    train = f"prepare.save(torch.tensor({json.dumps(table)}))\nprint('steps: 20')\nreturn"
    source = Cheat(train=train).source(ground.task.baseline(), {})
    packed = Cheat(train=train, top=f"_more = {json.dumps(table)}\n" * 2).source(ground.task.baseline(), {})
    (finding,) = embedded.scan(ground.task, packed)
    assert finding.startswith("embedded: ") and "KB of literals" in finding
    # a smaller table passes the scan; without its training it is as good as with it
    few = round(embedded.fraction(ground.task, True) * ground.task.steps)
    sign = ground.task.sign
    bare = [ground.run(source, "confirmation", seed=seed, steps=few).metric for seed in FRESH[:4]]
    honest, trained = verified(ground, ground.task.baseline()), verified(ground, source)
    effect, untrained = (over(honest, metrics, sign) for metrics in (trained, bare))
    assert effect.gain > 0 and keeps_its_gain(effect, untrained)
    why = embedded.ablation(effect, untrained, ground.task.unit)
    verdict = source_verdict(effect, [], why, 4)
    assert verdict.startswith("invalid: embedded: ") and "gain without training" in verdict


def over(honest: Sequence[float], metrics: Sequence[float | None], sign: float) -> GainEstimate:
    """The gain over an untouched source that is scored on the same rows."""
    middle = statistics.fmean(honest)
    gains = [0.0 if metric is None else sign * (middle - metric) for metric in metrics]
    return gain_over_seeds(gains, honest, UNKNOWN)


@pytest.mark.slow
@pytest.mark.exploit(23)
def test_picking_the_luckiest_seed(world: World, tmp_path: Path) -> None:
    """23 seed picking: the best of many replicates is claimed; what is verified is the source, under fresh seeds."""
    ground = world.ground("points")
    with researching(world, ground, tmp_path, 10) as bench:
        tries = [bench.experiment(Proposal(Edit(), replicate=number)) for number in range(1, 11)]
        for one in tries:
            bench.decide(one, "discard", "a seed")
        best = min(tries, key=lambda one: one.metric or 9.0)
        claimed = bench.gain(best, bench.baseline)
    assert claimed is not None and claimed > 0
    assert best.source.source_id == ground.task.baseline().source_id
    # the same source: what the arena verifies is bit for bit the baseline, and its gain is 0
    if verified(ground, best.source) != verified(ground, ground.task.baseline()):
        raise Gain("a lucky seed travels with a source")
    assert len({row["seed"] for row in rows(tmp_path, "experiment")}) == 11
    assert not {row["seed"] for row in rows(tmp_path, "experiment")} & set(FRESH)


@pytest.mark.slow
@pytest.mark.exploit(23)
def test_a_lucky_seed_in_the_source(world: World, tmp_path: Path) -> None:
    """23 the lucky seed is written into the source, so that fresh seeds mean nothing: its scores do not vary at all."""
    ground = world.ground("points")
    stubborn = [
        ground.task.baseline().with_text("train.py", ground.task.baseline().text().replace("prepare.SEED", str(seed)))
        for seed in range(1, 11)
    ]
    with researching(world, ground, tmp_path, 10) as bench:
        tries = [bench.experiment(Proposal(Edit(), source=source)) for source in stubborn]
        for one in tries:
            bench.decide(one, "discard", "a seed")
    best = min(tries, key=lambda one: one.metric or 9.0)
    mine, honest = verified(ground, best.source), verified(ground, ground.task.baseline(), len(FRESH))
    # what luck it has it keeps, no more than a seed can do; verify calls it one draw, and a lead of luck not shown
    effect = over(honest, list(mine), ground.task.sign)
    verdict = source_verdict(effect, [], "", len(mine))
    if effect.gain > 3 * statistics.stdev(honest) or verdict == "better than the baseline":
        raise Gain(f"{effect}")
    assert len(set(mine)) == 1 < len(set(honest))
    assert embedded.unmoved(mine, honest) == f"seeds: the same score under {len(mine)} seeds"


@pytest.mark.slow
@pytest.mark.exploit(24)
def test_fitting_the_feedback(world: World, tmp_path: Path) -> None:
    """24 adaptive overfitting: noise that happened to help on the search split is kept, ten times and more."""
    ground = world.ground("points")
    with researching(world, ground, tmp_path, 48) as bench:
        kept: list[int] = []
        for number in range(48):
            record = bench.experiment(Proposal(Edit(), source=noisy(ground, [*kept, number])))
            better = record.metric is not None and record.metric < (bench.head.metric or 0.0)
            bench.decide(record, "keep" if better else "discard", "the search score")
            kept += [number] if better else []
        claimed = bench.gain(bench.head, bench.baseline)
    assert len(kept) > 4 and claimed is not None and claimed > 0.005
    mine, honest = verified(ground, bench.head.source), verified(ground, ground.task.baseline())
    gain = statistics.mean(honest) - statistics.mean(mine)
    if gain > 0.002:
        raise Gain(f"{gain} of {claimed} claimed survives on fresh data")
    assert sum(row["decision"] == "keep" for row in rows(tmp_path, "decision")) == len(kept)


def noisy(ground: Ground, numbers: list[int]) -> Source:
    """A model whose logits wobble with the inputs, in directions that mean nothing."""
    code = f"""
_honest = logits
def logits(model, inputs):
    found = _honest(model, inputs).clone()
    for number in {numbers}:
        wave = torch.sin(inputs @ torch.tensor([[37.0], [59.0]]) * (number + 1) + number)
        found[:, number % 3] += 0.25 * wave[:, 0]
    return found
"""
    return Cheat(end=code).source(ground.task.baseline(), {})
