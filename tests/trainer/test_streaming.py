"""The evaluator's end of a conversation, with real processes at the other end that stall, lie, or change their mind."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.forked import ForkedReferee
from trainer.scoring import InvalidPredictions, negative_log_likelihood
from trainer.scoring.streaming import Channel, stream_losses

ROWS, POSITIONS, CLASSES = 5, 12, 7
HONEST = """
import torch

def load(path):
    return torch.randn(7, 7, generator=torch.Generator().manual_seed(3))

def logits(model, inputs):
    return model[inputs] + 0.1 * model[inputs].cumsum(1)

def step(model, state, symbols):
    state = model[symbols] if state is None else state + model[symbols]
    return model[symbols] + 0.1 * state, state
"""
INPUTS = np.random.default_rng(1).integers(CLASSES, size=(ROWS, POSITIONS))
TARGETS = np.random.default_rng(2).integers(-1, CLASSES, size=(ROWS, POSITIONS))


def talk_with(source: str, talk: Callable[[Channel], Any]) -> Any:
    referee = ForkedReferee(source, Path(), Path(), CLASSES)
    return referee.converse({"rows": ROWS, "classes": CLASSES}, ROWS * CLASSES * 4, talk)


def streamed(source: str, per_step: float = 30.0, total: float = 60.0) -> Any:
    return talk_with(
        source,
        partial(
            stream_losses, inputs=INPUTS, targets=TARGETS, classes=CLASSES,
            seconds_per_step=per_step, seconds_total=total,
        ),
    )  # fmt: skip


def chunked(source: str) -> Any:
    logits = ForkedReferee(source, Path(), Path(), CLASSES).predict(INPUTS)
    return negative_log_likelihood(logits.reshape(-1, CLASSES), TARGETS.reshape(-1)).reshape(ROWS, POSITIONS)


def test_streaming_agrees_with_chunks_and_leaves_out_the_rest() -> None:
    losses = streamed(HONEST)
    assert losses.dtype == np.float64
    assert np.allclose(losses, chunked(HONEST), atol=1e-5)
    assert (losses[TARGETS < 0] == 0).all() and (losses[TARGETS >= 0] > 0).all()


def test_without_a_step_the_prefix_is_asked_for_its_logits() -> None:
    assert np.allclose(streamed(HONEST.partition("def step")[0]), chunked(HONEST), atol=1e-5)


def test_a_process_that_never_reads_meets_the_deadline() -> None:
    with pytest.raises(InvalidPredictions, match="did not answer in time"):
        talk_with("import time; time.sleep(600)", lambda channel: channel.send(bytes(1 << 20), 0.5))


def test_reply_changed_after_its_summary_changes_nothing(tmp_path: Path) -> None:
    """A thread rewrites the shared memory as soon as it was read; a copy stays as it was taken."""
    read = tmp_path / "read"
    cheat = """
import gc, numpy, os, threading, time, torch
from trainer.inside import serving
load = str
def step(model, state, symbols):
    exchange = next(one for one in gc.get_objects() if isinstance(one, serving.Exchange))
    def change():
        while not os.path.exists("PLACE"): time.sleep(0.01)
        numpy.frombuffer(exchange._shared, numpy.float32)[:] = 1
        os.write(exchange._reply_fd, b".")
    threading.Thread(target=change).start()
    return torch.zeros(5, 7), 1
"""

    cheat = cheat.replace("PLACE", str(read))

    def talk(channel: Channel) -> tuple[memoryview, bytes, memoryview]:
        channel.send(INPUTS[:, 0].tobytes(), 30)
        taken = channel.take(30)
        at_once = bytes(taken)
        read.touch()
        return taken, at_once, channel.take(30)

    taken, at_once, changed = talk_with(cheat, talk)
    assert bytes(taken) == at_once == bytes(140) != bytes(changed)


def test_answers_told_in_advance_are_of_no_use() -> None:
    """Told before it was asked: what lies in the memory then cannot know the symbols, and it scores as it is."""
    cheat = """
import gc, os, torch
from trainer.inside import serving
load = str
def step(model, state, symbols):
    if state is None:
        exchange = next(one for one in gc.get_objects() if isinstance(one, serving.Exchange))
        os.write(exchange._reply_fd, bytes(100))
    return torch.zeros(5, 7), 1
"""
    losses = streamed(cheat)
    assert np.allclose(losses[TARGETS >= 0], math.log(CLASSES))


def test_the_future_is_not_sent_before_the_present_is_taken() -> None:
    """A model that answers only when it has read on: there is nothing to read, so it stalls."""
    cheat = """
import gc, torch
from trainer.inside import serving
load = str
def step(model, state, symbols):
    next(one for one in gc.get_objects() if isinstance(one, serving.Exchange)).receive(40)
    return torch.zeros(5, 7), 1
"""
    with pytest.raises(InvalidPredictions, match="did not answer in time"):
        streamed(cheat, per_step=1.0)


def test_a_shrunken_memory_is_no_reply() -> None:
    cheat = """
import gc, os, torch
load = str
def step(model, state, symbols):
    for number in os.listdir("/proc/self/fd"):
        if os.readlink(f"/proc/self/fd/{number}").startswith("/memfd:reply"):
            os.truncate(int(number), 0)
            os.write(REPLY, b".")
    return torch.zeros(5, 7), 1
"""
    finder = "next(one for one in gc.get_objects() if isinstance(one, serving.Exchange))._reply_fd"
    cheat = cheat.replace("REPLY", finder).replace("load = str", "from trainer.inside import serving\nload = str")
    with pytest.raises(InvalidPredictions, match="0 bytes, expected 140"):
        streamed(cheat)


def test_descriptors_do_not_pile_up() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        streamed(HONEST)
    assert len(os.listdir("/proc/self/fd")) <= before + 2
