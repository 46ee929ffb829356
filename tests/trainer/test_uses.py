"""Constants of a repository that change nothing, found in its syntax trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.foreign_repos import facts, write_files
from trainer.foreign import repository
from trainer.foreign.init import Draft, Wanted, draft, write
from trainer.foreign.uses import CodeUses
from trainer.task import Task

README = "Run `python train.py`, the lowest `loss` counts. Edit `train.py` and `net.py`.\n"
END = "print(f'loss: {w:.4f}')\n"


def drafted(place: Path, **files: str) -> Draft:
    texts = {f"{name}.py": text for name, text in files.items() if name != "readme"}
    return draft(write_files(place, {"README.md": files.get("readme", README), **texts}), Wanted(budget=1.0))


def reason(place: Path, name: str, **files: str) -> str:
    """Why a constant of train.py is dead; empty if it may change the result."""
    write_files(place, {f"{file}.py": text for file, text in files.items()})
    return CodeUses(repository.read(place), "python train.py", "loss").constant("train.py", name)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("w = 1.0\n", "used nowhere"),
        ("w = 1.0\nprint('size:', K)\n", "only changes what is printed (train.py:3)"),
        ("w = 1.0\nfor i in range(9):\n    if i % K == 0:\n        print('at', i)\n", "only changes what is printed"),
        ("w = 1.0\nprint(f'k {K} and so on')\n", "only changes what is printed"),
        ("def idle():\n    return K\n\n\nw = 1.0\n", "only code that never runs uses it (train.py:3)"),
        ("half = K / 2\nquarter = half / 2\nw = 1.0\n", "only half depends on it"),
        ("w = 1.0\nif w > K:\n    raise SystemExit('diverged')\n", "decides whether a result counts (train.py:3)"),
        ("w = 1.0\nassert w < K\n", "decides whether a result counts"),
        ("def fit(rate=K):\n    return rate\n\n\nw = fit(rate=0.5)\n", "train.py:6 sets rate"),
    ],
)
def test_a_constant_that_changes_nothing(code: str, why: str, tmp_path: Path) -> None:
    assert why in reason(tmp_path, "K", train=f"K = 3\n{code}{END}")


@pytest.mark.parametrize(
    "code",
    [
        "w = 1.0 / K\n",
        "half = K / 2\nw = half\n",
        "def fit(rate=K):\n    return rate\n\n\nw = fit()\n",
        "def fit(rate=K):\n    return rate\n\n\nw = fit(rate=1)\nother = map(fit, [2])\n",
        "w = 1.0\nif w > K:\n    w = 2.0\n",
        "w = 1.0\nprint(f'loss: {K}')\n",
        "def train():\n    return K\n\n\nw = train()\n",
        "w = globals()['K']\n",
        "import net\n\nw = net.half()\n",
        "w = 1.0\nfor i in range(9):\n    if i % K == 0:\n        w = w / 2\n        print(i)\n",
    ],
)
def test_a_constant_that_may_change_something(code: str, tmp_path: Path) -> None:
    net = "import train\n\n\ndef half():\n    return train.K\n"
    assert reason(tmp_path, "K", train=f"K = 3\n{code}{END}", net=net) == ""


def test_the_value_at_the_only_call_is_offered_and_the_default_is_left_out_with_the_line(tmp_path: Path) -> None:
    net = (
        "from dataclasses import dataclass\n\n\n@dataclass\nclass Config:\n    width: int = 8\n    lr: float = 0.5\n"
        "    heads: int = 4\n    momentum: float = 0.9\n    cap: float = 3.0\n"
    )
    train = (
        "from net import Config\n\nLR = 0.1\ncfg = Config(width=16, lr=LR, heads=2)\ncfg.momentum = LR\n"
        f"w = cfg.width * cfg.lr * cfg.momentum + cfg.cap\n{END}"
    )
    test = "from net import Config\n\nassert Config().width == 8\n"
    found = drafted(tmp_path, net=net, train=train, test_net=test)
    facts = [(fact.field, fact.value, fact.where) for fact in found.facts if fact.field in ("edits", "left out")]
    assert facts[0][1] == ["cap", "LR", "width"]
    width = next(knob for knob in Task.load(write(found, None)).edits.knobs if knob.name == "width")
    assert (width.at, width.file, width.role) == ("Config(width=)", "train.py", "width")
    left = {name: where for field, name, where in facts if field == "left out"}
    assert left["Config.width"] == "train.py:4 sets it: Config(width=…)" and left["Config.heads"] == "used nowhere"
    assert left["Config.momentum"] == "train.py:5 sets it" and 'at = "Config(width=)"' in found.toml


def test_an_option_that_the_command_sets_is_left_out(tmp_path: Path) -> None:
    train = (
        "import argparse\n\nap = argparse.ArgumentParser()\nap.add_argument('--lr', type=float, default=0.1)\n"
        "ap.add_argument('--width', type=int, default=8)\na = ap.parse_args()\nw = a.lr * a.width\n" + END
    )
    found = drafted(tmp_path, train=train, readme=README.replace("train.py`,", "train.py --lr 0.3`,", 1))
    left = {fact.value: fact.where for fact in found.facts if fact.field == "left out"}
    assert left["--lr"] == "the command sets --lr" and 'at = "--width"' in found.toml


def test_the_prose_restricts_and_recommends(tmp_path: Path) -> None:
    text = (
        README
        + "\n- PATIENCE is too low, 6 at least\n- HORIZON stays at 40\n\nDo not edit `data.py`.\n\nTry LR = 0.2.\n"
    )
    train = "from data import CIRCLES\n\nPATIENCE = 2\nHORIZON = 40\nLR = 0.1\nN = 19\n"
    train += f"w = PATIENCE * HORIZON * LR * N\n{END}"
    found = drafted(tmp_path, train=train, data="N_CIRCLES = 19\nCIRCLES = []\n", readme=text)
    left = {fact.value: fact.where for fact in found.facts if fact.field == "left out"}
    assert facts(found)["edits"] == ["PATIENCE", "LR"]
    assert "HORIZON stays at 40" in left["HORIZON"] and left["N"].startswith("the task fixes it: N_CIRCLES (data.py)")
