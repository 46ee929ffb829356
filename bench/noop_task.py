"""A built-in task whose declared edits are worth nothing: the same data, training and scoring, with other edits."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from trainer.task import TASKS, Task

SEEDED = "    torch.manual_seed(prepare.SEED)\n"
BEGIN = re.compile(r"(    model = .+\n    optimizer = .+\n)(    order, at = .+\n)")
STEP = "        loss.backward()\n"
EVALUATED = "    model.eval()\n"
LUCK = tuple(f"LUCK_{letter}" for letter in "ABCDEF")  # constants that choose among equally good random numbers
VALUES = (0, 1, 2, 3)


def noop_task(name: str, folder: Path) -> Task:
    """A copy of the built-in task ``name`` in ``folder``, whose edits are LUCK (other random numbers: the seed of the
    training and each of these constants make one seed), another order of two statements and a number that is drawn
    first (other random numbers too), another name of a variable and a comment (nothing at all). So each edit draws the
    noise of the training anew, or not, and none is worth anything.

    The baseline's text differs from the built-in one by the constants, which are 0.
    """
    shutil.copytree(TASKS / name, folder, ignore=shutil.ignore_patterns("__pycache__", "card.json"))
    toml, train = folder / "task.toml", folder / "train.py"
    text = train.read_text("utf-8")
    begin = BEGIN.search(text)
    if begin is None or any(text.count(line) != 1 for line in (SEEDED, STEP, EVALUATED)):
        raise ValueError(f"{name}: its train.py has no longer the lines that the edits change")
    seeded = SEEDED.replace(
        "SEED)", f"SEED + {' + '.join(f'{7919 * 4**at} * {each}' for at, each in enumerate(LUCK))})"
    )
    constants = "".join(f"{name} = 0\n" for name in LUCK)
    text = text.replace(SEEDED, seeded).replace("\n\ndef main():\n", f"\n{constants}\n\ndef main():\n")
    train.write_text(text, "utf-8")
    known, _, _ = re.sub(r"(?ms)^\[family\b.*?(?=^\[(?!family)|\Z)", "", toml.read_text("utf-8")).partition("[edits.")
    patches = {
        "order": (begin[0], begin[2] + begin[1]),
        "first": (seeded, seeded + "    torch.rand(1)\n"),
        "renamed": (STEP, "        value = loss\n        value.backward()\n"),
        "comment": (EVALUATED, EVALUATED.replace("\n", "  # dropout is off from here on\n")),
    }
    toml.write_text(known + "".join(map(luck_edit, LUCK)) + "".join(patch(*each) for each in patches.items()), "utf-8")
    return Task.load(folder)


def luck_edit(name: str) -> str:
    group = "luck" if name < LUCK[3] else "chance"
    return f'[edits.{name}]\nkind = "int"\nvalues = {[*VALUES]}\nlow = 0\nhigh = {VALUES[-1]}\ngroup = "{group}"\n\n'


def patch(name: str, change: tuple[str, str]) -> str:
    find, replace = (text.replace("\\", "\\\\") for text in change)
    return (
        f'[edits.{name}]\nkind = "patch"\ngroup = "text"\nnote = "no effect"\n\n'
        f'[[edits.{name}.replace]]\nfind = """\n{find}"""\nwith = """\n{replace}"""\n\n'
    )
