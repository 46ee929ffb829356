"""One world for all attacks, and `attack`, which carries one out."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.redteam.harness import Case, Cheat, World
from trainer.source import Source
from trainer.streams import Stream


class Attack(Protocol):
    """``attack("points", train="...")``: see `harness.Cheat` for where the code goes.

    ``honest``: the twin, where it is not the task's baseline (for a leak: the same model without it); it is what the
    cheat's code is put into, too. ``seed``, ``fixed_steps`` and fields of the task go to `Ground.run`.
    """

    def __call__(self, task: str, *, honest: Source | None = None, **more: Any) -> Case: ...


@pytest.fixture(scope="session")
def one_world() -> Iterator[World]:
    folder = Path(
        tempfile.mkdtemp(prefix="metaloop-redteam-", dir="/tmp")
    )  # not below a folder that is closed to others
    found = World(folder)
    yield found
    found.close()
    shutil.rmtree(folder)


@pytest.fixture
def world(one_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """With its own cache, in the folder that everybody may read, and with a key; for this test alone."""
    monkeypatch.setenv("METALOOP_CACHE", str(one_world.folder / "training"))
    monkeypatch.setenv("METALOOP_API_KEY", one_world.secret)
    return one_world


@pytest.fixture
def attack(world: World, request: pytest.FixtureRequest) -> Attack:
    """Carry a cheat out on both streams beside its honest twin, and see that nothing was harmed."""

    def carry_out(task: str, *, honest: Source | None = None, **more: Any) -> Case:
        ground = world.ground(task)
        cheat = Cheat(**{name: more.pop(name) for name in ("top", "train", "end", "whole") if name in more})
        honest = honest or ground.task.baseline()
        twins = [ground.twin(honest, stream) for stream in _STREAMS]
        source = cheat.source(honest, world.known(ground))
        before, templates = world.state(), world.templates()
        found = [ground.run(source, stream, **more) for stream in _STREAMS]
        case = Case(ground.task, source, *found, *twins)
        request.node.user_properties += [("gain", case.gain), ("scored_gain", case.scored_gain)]
        world.assert_unharmed(before, *found)
        assert world.templates() == templates, "the template is another one"
        world.assert_honest_as_ever(ground)
        return case

    return carry_out


_STREAMS: tuple[Stream, ...] = ("search", "confirmation")
