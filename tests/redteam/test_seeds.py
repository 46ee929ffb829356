"""A source that makes the hidden split itself: the generator is public, so it tries seeds until the rows agree."""

from __future__ import annotations

import pytest

from tests.redteam.conftest import Attack
from tests.redteam.harness import World
from trainer.streams import STREAMS

AROUND = 20  # seeds tried on either side of what a seed of 31 bits would be: a CPU-minute tries them all

SEARCH = """
import numpy as _numpy
_honest = logits
def logits(model, inputs):
    for _seed in {seeds}:
        _rng = _numpy.random.default_rng(_seed)
        _targets = _rng.integers(0, 3, 300)
        _centres = _numpy.array([[2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
        _rows = (_centres[_targets] + _rng.normal(0, 0.9, (300, 2))).astype(_numpy.float32)
        _known = {{row.tobytes(): target for row, target in zip(_rows, _targets)}}
        _found = [_known.get(row.numpy().tobytes()) for row in inputs]
        if sum(found is not None for found in _found) > len(_found) // 4:
            return torch.eye(3)[[found or 0 for found in _found]] * 20
    return _honest(model, inputs)
"""


@pytest.mark.exploit(46)
def test_the_hidden_split_is_not_found_among_small_seeds(attack: Attack, world: World) -> None:
    """46 with the first 31 bits of each seed as a gift: a seed of hidden data has 128."""
    task = world.ground("points").task.task_id
    small = [world.streams.seed(stream, "split", task) for stream in STREAMS]
    seeds = [seed + k for seed in small for k in range(-AROUND, AROUND)]
    case = attack("points", end=SEARCH.format(seeds=seeds))
    case.assert_no_gain()
    case.assert_same()
