"""Studies that have ended: each is made once for a whole run of the tests, in whichever process needs it first."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.ledger.run_state import StudyState
from bench.whole import begin_night, begin_study, play_study, resized, search_here
from meta.steering import ask
from programs.program import Program
from programs.shelf import starter
from tests.inner_loop.play import BLOBS
from tests.meta.cli_study import metaloop
from tests.meta.evolved import SHORT, evolved
from tests.studies import TINY, drawn_law, planted
from trainer.task import Task

Gallery = Callable[[str], Path]
TRAINED = resized(TINY, opening_more=2, final={"without-ideas": 0})
EVOLVE = resized(TINY, harvest_percent=5, children=2, final={"champion": 3, "control": 3, "without-ideas": 0})
WRITTEN = resized(
    TINY, generations=2, children=3, opening_more=2, generation_more=2,
    final={"champion": 2, "control": 2, "without-ideas": 0, "a/a": 0},
)  # fmt: skip
STEERED = Program.parse(
    "---\nmetaloop:\n  proposers: {local: 0.6, random: 0.4}\n---\n# Steered\n\nLower the loss.\n", "steered"
)
RUN_BUDGET = ("-b", "0.8s", "--seed", "7", "-j", "1")


def trained(folder: Path) -> None:
    """Real training of a tiny task, with one worker process."""
    evolved(folder, Task.load(BLOBS), TRAINED, seed=1, fixed_steps=True)


def evolve(folder: Path) -> None:
    """Two training tasks, one that is held out, a harvest, and a program that a person gave."""
    north, south, far = (planted(folder.parent / name, seed, name=name) for name, seed in
                         (("north", 2), ("south", 5), ("far", 9)))  # fmt: skip
    study = begin_study(folder, north, EVOLVE, further=[south], held_out=[far], seed=1, run_budget=0.8)
    ask(folder, "program", STEERED.text, name=STEERED.name, because="it helped elsewhere")
    play_study(study)


def night(folder: Path) -> None:
    play_study(begin_night(folder, planted(folder.parent / "law"), 2.4, starter("local"), seed=2))


def match(folder: Path) -> None:
    """Four programs and stock's second arm that race."""
    law = drawn_law(folder.parent / "law", 3)
    names = ("stock", "idea-queue", "local-screen", "confirm-last")
    metaloop("match", *names, "--race", "-n", "5", "-t", law, *RUN_BUDGET, "-s", folder)


def several(folder: Path) -> None:
    """A match on two tasks."""
    laws = ",".join(str(drawn_law(folder.parent / name, seed)) for name, seed in (("law", 3), ("other", 8)))
    metaloop("match", "local", "-n", "3", "-t", laws, *RUN_BUDGET, "-s", folder)


def ablation(folder: Path) -> None:
    law = drawn_law(folder.parent / "law", 3)
    metaloop("ablate", "local", "--budget", "30s", "-t", law, *RUN_BUDGET, "-s", folder)


def replay(folder: Path) -> None:
    """A run, whose kept changes were trained again."""
    law = drawn_law(folder.parent / "law", 3)
    metaloop("match", "local", "-n", "2", "--no-controls", "-t", law, *RUN_BUDGET, "-s", folder)
    runs = StudyState.read(folder / "ledger").runs
    metaloop("ablate", max(runs, key=lambda run_id: runs[run_id].kept), "-n", "6", "-s", folder)


def written(folder: Path) -> None:
    """Two tasks and two generations, with a model that writes programs beside the rules."""
    from inner_loop.models.provider import litellm
    from tests.llm import writer
    from tests.llm.kits import environment, staff
    from tests.llm.server import LlmServer

    litellm()
    north, south = (planted(folder.parent / name, seed, name=name) for name, seed in (("north", 2), ("south", 3)))
    with pytest.MonkeyPatch.context() as patch, LlmServer(writer.answer) as server:
        environment(patch, server.url)
        settings = {"run_budget": SHORT, "seed": 3, "model_config": staff(reply_tokens=2000)}
        search_here(begin_study(folder, north, WRITTEN, further=[south], **settings))


def window(folder: Path) -> None:
    """Not one study but a folder with two, one of them deeper, with held-out tasks."""
    task = planted(folder / "law", experiments=6)
    others = [planted(folder / name, seed, name=name, experiments=6) for name, seed in (("far", 3), ("farther", 4))]
    plan = resized(
        TINY, starters=2, opening_runs=2, opening_more=1, children=1, generation_more=1,
        final={"champion": 2, "control": 2, "without-ideas": 0},
    )  # fmt: skip
    for name, seed in (("one", 5), ("deep/er/two", 6)):
        evolved(folder / name, task, plan, run_budget=6 * task.cost_seconds, seed=seed, held_out=others)


#: Of each kind of study one, beside others. A study of simulated tasks is made in the process of the test.
STUDIES: dict[str, Callable[[Path], None]] = {
    each.__name__: each for each in (trained, evolve, night, match, several, ablation, replay, written, window)
}


def ended_study(shared: Path, name: str) -> Path:
    """The folder of a study below the ``shared`` folder of a run of the tests; the first to ask makes it."""
    place = shared / "gallery" / name
    place.mkdir(parents=True, exist_ok=True)
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "made").exists():
            shutil.rmtree(place / "study", ignore_errors=True)
            STUDIES[name](place / "study")
            (place / "made").touch()
    return place / "study"
