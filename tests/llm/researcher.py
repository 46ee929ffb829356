"""The researcher behind the test server: reads the source in the prompt, answers with a valid edit.

Its answer follows from the request alone, so that a study that is repeated meets the same replies.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from typing import Any

_FILE = re.compile(r'^<file name="([^"]+)">\n(.*?)^</file>$', re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"^([A-Z][A-Z0-9_]*) = ([0-9.e+-]+)(?: +#.*)?$", re.MULTILINE)
_LABEL = re.compile(r"\[(d\d+)\]")


def prompt_of(body: dict[str, Any]) -> str:
    """The whole prompt, as text."""
    contents = [message.get("content") or "" for message in body["messages"]]
    return "\n".join(c if isinstance(c, str) else "".join(part.get("text", "") for part in c) for c in contents)


def luck_of(body: dict[str, Any]) -> random.Random:
    """Drawn from the request."""
    return random.Random(hashlib.sha256(json.dumps(body["messages"], sort_keys=True).encode()).hexdigest())


def answer(body: dict[str, Any]) -> str:
    """A number of the source doubled or halved."""
    prompt, luck = prompt_of(body), luck_of(body)
    files = _FILE.findall(prompt)
    if not files:
        return "I see no source."
    name, text = files[0]
    old, new = _change(text, luck)
    labels = sorted(set(_LABEL.findall(prompt)))
    return reply(name, old, new, follows=luck.sample(labels, min(1, len(labels))), luck=luck)


def reply(name: str, old: str, new: str, *, follows: list[str], luck: random.Random) -> str:
    """A reply in the form that the prompt asks for."""
    return "\n".join(
        [
            f"<title>{new}</title>",
            f"<rationale>\n{old} has not been varied yet; {new} may do better.\n</rationale>",
            f"<follows>{', '.join(follows)}</follows>",
            f"<note>tried {new}</note>",
            *([f"<idea>vary {old.partition(' ')[0]} further</idea>"] if luck.random() < 0.3 else []),
            f'<edit file="{name}">',
            "<<<<<<< SEARCH",
            old,
            "=======",
            new,
            ">>>>>>> REPLACE",
            "</edit>",
        ]
    )


def _change(text: str, luck: random.Random) -> tuple[str, str]:
    choices: list[tuple[str, str]] = []
    for match in _NUMBER.finditer(text):
        name, number = match.groups()
        whole = number.isdigit()
        values = [max(1, int(int(number) * factor)) if whole else float(number) * factor for factor in (0.5, 2)]
        choices += [(match[0], f"{name} = {value}") for value in values if str(value) != number]
    return luck.choice(choices) if choices else ("nothing", "to change")
