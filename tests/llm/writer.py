"""The writer behind the test server: reads in the prompt what is asked of it, and writes a valid reply.

As with the researcher, its reply follows from the request alone; a repair from what precedes the first reply.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any

from tests.llm.researcher import luck_of, prompt_of

_KNOB = re.compile(r"^- `(\w+)`[^:\n]*: (?:int|float|choice), ([^;\n]+)", re.MULTILINE)
_ROW = re.compile(r"^- \[([edbc]\d+)\]", re.MULTILINE)
_IDEA = re.compile(r"^\((\d+)(?:: [^()\n]*)?\) ", re.MULTILINE)
REJECTED = "Your reply below was rejected"
CHARTERS: tuple[dict[str, Any], ...] = (
    {"proposers": {"local": 0.7, "random": 0.3}, "no_repeat": True},
    {"proposers": {"queue": 0.6, "local": 0.4}, "no_repeat": True},
    {"proposers": {"queue": 0.8, "local": 0.2}, "screen": {"fraction": 0.3, "promote": 0.25}, "wave": 8},
)


def answer(body: dict[str, Any]) -> str:
    """A child of the shape that the job asks for."""
    prompt, luck = prompt_of(body), luck_of(body)
    asked = prompt.rpartition("# What to do")[2]
    if REJECTED in asked:
        luck = random.Random(prompt.partition(REJECTED)[0])
    rows, known = sorted(set(_ROW.findall(prompt))), [int(n) for n in _IDEA.findall(prompt)]
    cited = luck.sample(rows, min(2, len(rows)))
    charter = luck.choice(CHARTERS) | {"history": luck.randrange(5, 90), "confirm": luck.choice((0.05, 0.1, 0.15))}
    new = ideas(prompt, luck, 3)
    if "Write nothing new" in asked:
        return reply(cited, ideas=known[1:], charter=None if len(known) > 2 else charter)
    if "child of both parents" in asked:
        return reply(cited, ideas=[*known[-1:], *known[:1]], charter=charter)
    return reply(cited, ideas=[*new, *luck.sample(known, min(2, len(known)))], charter=charter)


def reply(cited: list[str] | None = None, reason: str = "what the rows speak for", **parts: Any) -> str:
    """A reply in the form that prompts ask for, with other text around it."""
    whole = {"limits": "The list ended early.", "reason": reason, "evidence": cited or [], "decline": "", **parts}
    return f"Let me see.\n```json\n{json.dumps(whole, indent=1)}\n```\n"


def ideas(prompt: str, luck: random.Random, count: int) -> list[str]:
    known = _KNOB.findall(prompt)
    knobs = luck.sample(known, min(count, len(known)))  # a repository of somebody's may have few
    return [f"Set `{name}={luck.choice(values.split(', '))}`." for name, values in knobs]
