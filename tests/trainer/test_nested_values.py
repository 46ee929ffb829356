"""Values inside files: found by their address, and rewritten alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs.common.errors import TaskError
from tests.trainer.foreign_repos import changed, made, write_files
from trainer.commands.task_toml import Wanted
from trainer.values import nested_values

PYTHON = """# é: bytes are not characters
TOKENS = 2**19
OPT = {"lr": 1e-3, "in": {"wd": 0.1}, "nesterov": False}  # keep
BETAS = (0.9, 0.95)
class Config:
    depth: int = 4
    clip: float = field(default=1.0)
ap.add_argument("-m", "--momentum", type=float,
                default=0.9, help="é")
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
        ("a.py", PYTHON, "--momentum", 0.9, 0.5, '                default=0.5, help="é")'),
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
        ("a.py", "class A:\n    lr = 0.1\n    lr = 0.2\n", "A.lr"),  # two values
        ("a.yaml", "a: &x 1\nb: *x\n", "a"),  # an anchor: two keys share it
        ("a.yaml", "a: 1\na: 2\n", "a"), ("a.yaml", "a: [1\n", "a"), ("a.json", '{"a": 1,}', "a"),
        ("a.toml", TOML, "model.inner.lr"),  # a line of a text
        ("a.py", "x = f(1", "x"),
    ],
)  # fmt: skip
def test_what_is_not_certain_has_no_address(file: str, text: str, address: str) -> None:
    assert address not in nested_values.read(file, text) and nested_values.write(file, text, address, 3) is None


def test_an_address_that_is_not_there_is_refused_with_a_near_one(tmp_path: Path) -> None:
    code = "class Config:\n    lr = 0.5\n\n\nprint(f'loss: {Config.lr}')\n"
    folder = made(write_files(tmp_path, {"train.py": code}), Wanted(noise="unknown")).folder
    with pytest.raises(TaskError, match=r"train.py has no value Config.lt") as caught:
        changed(folder, 'at = "Config.lr"', 'at = "Config.lt"')
    assert caught.value.hint == "near: Config.lr"
