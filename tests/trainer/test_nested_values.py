"""Values inside files: found by their address, rewritten alone, and knobs of foreign repositories only where alive."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs.errors import TaskError
from tests.trainer.foreign_repos import write_files
from trainer import nested_values
from trainer.edits import Edit, EditError
from trainer.foreign.init import Draft, Wanted, draft, write
from trainer.task import Task

PYTHON = """# é: bytes are not characters
TOKENS = 2**19
OPT = {"lr": 1e-3, "in": {"wd": 0.1}, "nesterov": False}  # keep
BETAS = (0.9, 0.95)
class Config:
    depth: int = 4
    clip: float = field(default=1.0)
def fit(rng, lr=0.1, *, width=8): ...
ap.add_argument("-m", "--momentum", type=float,
                default=0.9, help="é")
def main():
    a = AdamW(p, lr=0.01)
def other():
    a = AdamW(p, lr=0.02)
"""
YAML = "# top\noptim:\n  lr: 1e-3  # small\n  name: 'sgd'\n  betas: [0.9, 0.99]\nflag: true\nname: adam\n"
JSON = '{\n\t"lr": 0.1,\n\t"model": {"width": 8, "names": ["a"]}\n}\n'
TOML = '[optim]\nlr = 0.1  # é\nname = "sgd"\n\n[model.inner]\nwidth = 8\ntext = """\nlr = 9\n"""\n'


@pytest.mark.parametrize(
    ("file", "text", "address", "value", "new", "line"),
    [
        ("a.py", PYTHON, "TOKENS", 2**19, 2**20, "TOKENS = 2**20"),
        ("a.py", PYTHON, "TOKENS", 2**19, 1000, "TOKENS = 1000"),
        ("a.py", PYTHON, "OPT[lr]", 1e-3, 0.01, 'OPT = {"lr": 0.01, "in": {"wd": 0.1}, "nesterov": False}  # keep'),
        ("a.py", PYTHON, "OPT[in][wd]", 0.1, 0.0, 'OPT = {"lr": 1e-3, "in": {"wd": 0.0}, "nesterov": False}  # keep'),
        ("a.py", PYTHON, "BETAS[1]", 0.95, 0.99, "BETAS = (0.9, 0.99)"),
        ("a.py", PYTHON, "Config.depth", 4, 6, "    depth: int = 6"),
        ("a.py", PYTHON, "Config.clip", 1.0, 0.5, "    clip: float = field(default=0.5)"),
        ("a.py", PYTHON, "fit(lr)", 0.1, 0.3, "def fit(rng, lr=0.3, *, width=8): ..."),
        ("a.py", PYTHON, "--momentum", 0.9, 0.5, '                default=0.5, help="é")'),
        ("a.py", PYTHON, "other: AdamW(lr=)", 0.02, 0.5, "    a = AdamW(p, lr=0.5)"),
        ("a.yaml", YAML, "optim.lr", 1e-3, 1e-05, "  lr: 1.0e-05  # small"),
        ("a.yaml", YAML, "optim.betas[1]", 0.99, 0.9, "  betas: [0.9, 0.9]"),
        ("a.yaml", YAML, "optim.name", "sgd", "no", '  name: "no"'),
        ("a.yaml", YAML, "flag", True, False, "flag: false"),
        ("a.yaml", YAML, "name", "adam", "lion", "name: lion"),
        ("a.json", JSON, "model.width", 8, 16, '\t"model": {"width": 16, "names": ["a"]}'),
        ("a.toml", TOML, "optim.lr", 0.1, 0.5, "lr = 0.5  # é"),
        ("a.toml", TOML, "model.inner.width", 8, 4, "width = 4"),
    ],
)  # fmt: skip
def test_only_the_bytes_of_a_value_change(
    file: str, text: str, address: str, value: object, new: float | str, line: str
) -> None:
    assert nested_values.read(file, text)[address].value == value
    changed = nested_values.write(file, text, address, new)
    assert changed is not None and nested_values.read(file, changed)[address].value == new
    different = [two for one, two in zip(text.splitlines(), changed.splitlines(), strict=True) if one != two]
    assert different == [line]
    assert nested_values.write(file, text, address, nested_values.read(file, text)[address].value) == text


@pytest.mark.parametrize(
    ("file", "text", "address"),
    [
        ("a.py", PYTHON, "AdamW(lr=)"),  # two calls
        ("a.yaml", "a: &x 1\nb: *x\n", "a"),  # an anchor: two keys share it
        ("a.yaml", "a: 1\na: 2\n", "a"), ("a.yaml", "a: [1\n", "a"), ("a.json", '{"a": 1,}', "a"),
        ("a.toml", TOML, "model.inner.lr"),  # a line of a text
        ("a.py", "x = f(1", "x"),
    ],
)  # fmt: skip
def test_what_is_not_certain_has_no_address(file: str, text: str, address: str) -> None:
    assert address not in nested_values.read(file, text) and nested_values.write(file, text, address, 3) is None


def drafted(place: Path, command: str = "python train.py", editable: str = "train.py", **files: str) -> Draft:
    readme = f"Run `{command}`, the lowest `loss` counts. Edit `{editable}`. A run takes one second.\n"
    texts = {
        name.replace("__", "/").replace("_yaml", ".yaml").replace("_make", ""): text for name, text in files.items()
    }
    texts = {name if "." in name or name == "Makefile" else f"{name}.py": text for name, text in texts.items()}
    return draft(write_files(place, {"README.md": readme, **texts}), Wanted())


def knobs(found: Draft) -> tuple[dict[str, str], dict[str, str]]:
    """(knob → role; what was left out → why)."""
    left = {fact.value: fact.where for fact in found.facts if fact.field == "left out" and fact.flag == "--values"}
    task = Task.load(write(found, None))
    return {knob.name: knob.role for knob in task.edits.knobs}, left


def test_keys_of_a_config_file_are_knobs_where_code_reads_them(tmp_path: Path) -> None:
    train = (
        "import yaml\ncfg = yaml.safe_load(open('config.yaml'))\ncfg['optim']['decay'] = 0.5\nopt = cfg['optim']\n"
        "w = opt['lr'] * opt['decay'] * opt['epochs'] + cfg.get('momentum')\n"
        "if opt['log_every'] > 3:\n    print('hello')\nprint(f'loss: {w}')\n"
    )
    config = (
        "optim:\n  lr: 0.1  # é\n  decay: 0.2\n  epochs: 4\n  idle: 7\n  log_every: 5\nmomentum: 0.9\n"
        "eval:\n  lr: 0.5\n"
    )
    found = drafted(
        tmp_path, "python train.py optim.epochs=9", "config.yaml", train=train, config_yaml=config, other_yaml="lr: 3\n"
    )
    known, left = knobs(found)
    assert known == {"lr": "learning_rate", "momentum": "momentum"}
    assert left["optim.epochs"] == "the command sets optim.epochs" and "eval.lr" in left
    assert left["optim.decay"] == "train.py:3 sets it" and left["optim.idle"] == "no code that runs reads optim.idle"
    assert left["optim.log_every"] == "it only changes what is printed (train.py:6)"
    task = Task.load(tmp_path)
    edit = task.edits.parse_terms(["@learning_rate=0.3"])
    assert edit is not None
    source = task.edits.apply(task.baseline(), edit)
    assert source.text("config.yaml") == config.replace("lr: 0.1", "lr: 0.3")
    assert task.edits.between(task.edits.config(task.baseline()), task.edits.config(source)) == edit
    unread = task.baseline().with_text("config.yaml", "optim: {}\n")
    with pytest.raises(EditError, match=r"no value optim\.lr"):
        task.edits.apply(unread, Edit({"lr": 0.3}))


def test_a_default_counts_only_where_nothing_sets_another_value(tmp_path: Path) -> None:
    train = (
        "import argparse\nfrom torch.optim import SGD\nOPT = {'lr': 0.1, 'idle': 1, 'late': 2}\nOPT['late'] = 3\n"
        "PEAK = 0.2\n\n\ndef fit(steps=9, width=8, gain=2.0):\n    return steps * width * OPT['lr'] * gain\n\n\n"
        "def never(scale=2.0):\n    return scale\n\n\nap = argparse.ArgumentParser()\n"
        "ap.add_argument('--hidden', type=int, default=4)\nap.add_argument('--rounds', type=int, default=5)\n"
        "ap.set_defaults(rounds=6)\na = ap.parse_args()\nSGD([], lr=PEAK, momentum=0.9)\n"
        "print(f'loss: {fit(gain=3.0) * a.hidden * a.rounds * OPT[\"late\"]}')\n"
    )
    makefile = "STEPS := 3\ntrain:\n\tpython train.py --steps $(STEPS) --hidden 7\n"
    found = drafted(tmp_path, "make train", train=train, Makefile_make=makefile)
    known, left = knobs(found)
    assert known == {"lr": "learning_rate", "PEAK": "learning_rate", "momentum": "momentum", "steps": "",
                     "width": "width", "gain": ""}  # fmt: skip
    assert 'role = "learning_rate"  # by train.py:21: SGD(lr=…)' in found.toml
    assert left == {
        "OPT[idle]": "no code reads OPT[idle]", "OPT[late]": "train.py:4 sets it", "fit(gain)": "train.py:22 sets gain",
        "never(scale)": "only code that never runs uses it (train.py:12)", "--hidden": "Makefile:3 sets --hidden",
        "--rounds": "train.py:19 sets it: set_defaults(rounds=…)",
        "set_defaults(rounds=)": "a number in a call of a library: what it does is not known",
    }  # fmt: skip


def test_a_config_file_that_is_unpacked_makes_the_defaults_of_the_class_dead(tmp_path: Path) -> None:
    train = (
        "import json\nfrom dataclasses import dataclass\n\n\n@dataclass\nclass Config:\n    lr: float = 0.1\n"
        "    width: int = 3\n\n\ncfg = Config(**json.load(open('config.json')))\nprint(f'loss: {cfg.lr * cfg.width}')\n"
    )
    write_files(tmp_path, {"config.json": '{"lr": 0.5}\n'})
    known, left = knobs(drafted(tmp_path, train=train))
    assert known == {"width": "width"} and left["Config.lr"] == "config.json:1 sets it"


def test_an_address_that_is_not_there_is_refused_with_a_near_one(tmp_path: Path) -> None:
    found = drafted(tmp_path, train="def fit(rate=0.5):\n    return rate\n\n\nprint(f'loss: {fit()}')\n")
    path = write(found, None) / "task.toml"
    path.write_text(path.read_text().replace('at = "fit(rate)"', 'at = "fit(rote)"'))
    with pytest.raises(TaskError, match=r"train.py has no value fit\(rote\)") as caught:
        Task.load(path.parent)
    assert caught.value.hint == "near: fit(rate)"
