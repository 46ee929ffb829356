"""The mutator behind the test server: reads in the prompt what is asked of it, and writes a valid reply.

As with the researcher, its reply follows from the request alone; a repair from what precedes the first reply.
"""

from __future__ import annotations

import random
import re
from typing import Any

from tests.llm.researcher import luck_of, prompt_of

_KNOB = re.compile(r"^- `(\w+)`[^:\n]*: (?:int|float|choice), ([^;\n]+)", re.MULTILINE)
_ROW = re.compile(r"^- \[([edbr]\d+)\]", re.MULTILINE)
_TASK = re.compile(r"^# What to do\n\n(.*)$", re.MULTILINE | re.DOTALL)
_PARENT = re.compile(r'^<data name="program" mark="(\w+)">\n(.*?)\n</data mark="\1">', re.MULTILINE | re.DOTALL)
_SECTION = re.compile(r'^<data name="section" mark="(\w+)">\n(.*?)\n?</data mark="\1">', re.MULTILINE | re.DOTALL)
NOTES = "Hm.\n<notes>\n- The queue ended before e1 was tried.\n- Two runs repeated a failure.\n</notes>"
CHARTERS = (
    "metaloop:\n  proposers: {local: 0.7, random: 0.3}\n  no_repeat: true\n",
    "metaloop:\n  proposers: {queue: 0.6, local: 0.4}\n  no_repeat: true\n",
    "metaloop:\n  proposers: {local: 1.0}\n  screen: {fraction: 0.3, promote: 0.25}\n  wave: 8\n",
)


def answer(body: dict[str, Any]) -> str:
    """One of the shapes that the mutator's prompts ask for."""
    prompt, luck = prompt_of(body), luck_of(body)
    asked = _TASK.findall(prompt)[-1]
    if asked.startswith("Write no program yet"):
        return NOTES
    if asked.startswith("Your reply below"):
        luck = random.Random(prompt.partition("Your reply below")[0])
    rows = sorted(set(_ROW.findall(prompt)))
    cited = luck.sample(rows, min(2, len(rows)))
    parent = _PARENT.findall(prompt)[0][1] + "\n"
    return form(*_made(asked, parent, prompt, luck), cited)


def form(payload: str, name: str, text: str, cited: list[str], reason: str = "what the rows speak for") -> str:
    opened = f'<{payload} name="{name}">' if name else f"<{payload}>"
    return (
        f"Let me see.\n<reason>{reason}</reason>\n<evidence>{', '.join(cited) or 'none'}</evidence>\n"
        f"{opened}\n{text.rstrip()}\n</{payload}>\n"
    )


def _made(asked: str, parent: str, prompt: str, luck: random.Random) -> tuple[str, str, str]:
    if asked.startswith("Rewrite two sections"):
        return (
            "section",
            "charter",
            f'{_charter(luck)}</section>\n<section name="Ideas">\n' + "\n".join(_ideas(prompt, luck, 4)),
        )
    if asked.startswith("Rewrite one section"):
        if "`charter`" in asked.splitlines()[0]:
            return "section", "charter", _charter(luck)
        return "section", re.findall("`(.+?)`", asked)[0], "\n".join(_ideas(prompt, luck, 4))
    if asked.startswith("Add one thing"):
        after = ' after="0"' if "To change ideas without repeating" in asked else ""
        old = re.search(r"^## Ideas\n(.*?)(?=^#|\Z)", parent, re.MULTILINE | re.DOTALL)
        kept = old[1].strip() + "\n" if old and not after else ""
        return "section", f'Ideas"{after[:-1]}' if after else "Ideas", kept + _ideas(prompt, luck, 1)[0]
    if asked.startswith("Delete from one section"):
        return "section", "charter", ""
    if asked.startswith("Combine the two parents"):
        names = re.findall("`([^`]+)`", asked.partition("Sections of parent 2:")[2].partition("\n")[0])
        return "merge", "", f"{luck.choice(['charter', 'Ideas']) if 'Ideas' in names else 'charter'}: 2"
    if asked.startswith("Your reply below"):
        return _again(asked, parent, prompt, luck)
    if asked.startswith("Shorten the program"):
        return "program", "", parent
    return "program", "", _whole(prompt, luck)


def _again(asked: str, parent: str, prompt: str, luck: random.Random) -> tuple[str, str, str]:
    """The form that was asked for at first, with other contents."""
    if "<merge>" in asked:
        return "merge", "", "charter: 2"
    if "<program" in asked:
        return "program", "", _whole(prompt, luck)
    if '<section name="Ideas">' in asked:
        return "section", "Ideas", "\n".join(_ideas(prompt, luck, 4))
    return "section", "charter", _charter(luck)


def _whole(prompt: str, luck: random.Random) -> str:
    ideas = "\n".join(_ideas(prompt, luck, 3))
    return f"---\n{_charter(luck)}---\n# Another way\n\nWork the list, then look around.\n\n## Ideas\n\n{ideas}\n"


def _charter(luck: random.Random) -> str:
    return luck.choice(CHARTERS) + f"  history: {luck.randrange(5, 90)}\n  confirm: {luck.choice((0.05, 0.1, 0.15))}\n"


def _ideas(prompt: str, luck: random.Random, count: int) -> list[str]:
    known = _KNOB.findall(prompt)
    knobs = luck.sample(known, min(count, len(known)))  # a repository of somebody's may have few
    return [f"- Set `{name}={luck.choice(values.split(', '))}`." for name, values in knobs]
