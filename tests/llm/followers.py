"""A reader of programs whose obedience is planted: what each sentence makes it do is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.simulated_tasks import simulated_task
from tests.llm.researcher import _FILE, _NUMBER, luck_of, prompt_of, reply
from trainer.laws.law import Change, Law

HELPFUL, NULL, VISIBLE = "Take large steps.", "Stay calm.", "Explain each change in a comment."
TALK = "Think aloud."
PROGRAM = f"# Rules\n\nLower the loss.\n\n## Process\n\n- {HELPFUL}\n- {NULL}\n- {VISIBLE}\n- {TALK}\n"
KNOBS = [f"K{number}" for number in range(90)]  # more than the turns of a night can raise
SMALL, LARGE = 0.02, 0.2


def steps_task(folder: Path) -> Path:
    """A task in which raising any of many settings to 2 gains a little and to 4 much; lowering one to 0.5 loses."""
    effects: dict[Change, float] = {
        (knob, value): gain for knob in KNOBS for value, gain in ((2.0, SMALL), (4.0, LARGE), (0.5, -0.1))
    }
    law = Law(before=dict.fromkeys(KNOBS, 1.0), effects=effects, metric=40.0, seed=1, noise=0.01)
    return simulated_task(law, folder, experiments=8)


def answer(body: dict[str, Any]) -> str:
    """Two of three changes raise a setting that was not changed yet, as far as the program says; the third lowers it.
    NULL changes nothing, VISIBLE only adds comments, and TALK only makes the reply longer."""
    prompt, luck = prompt_of(body), luck_of(body)
    files = _FILE.findall(prompt)
    if not files:
        return "I see no source."
    name, text = files[-1]
    old, knob = luck.choice([(match[0], match[1]) for match in _NUMBER.finditer(text) if float(match[2]) == 1.0])
    step = 4.0 if HELPFUL in prompt else 2.0
    new = f"{knob} = {step if luck.random() < 2 / 3 else 0.5}"
    comment = "# It may be better.\n# Nobody knows.\n" if VISIBLE in prompt else ""
    thoughts = "It may go either way. " * 20 if TALK in prompt else ""
    return thoughts + reply(name, old, comment + new, follows=[], luck=luck)
