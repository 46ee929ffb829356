"""The time that an experiment may take, and the constant that holds it."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from trainer import constants
from trainer.foreign.facts import Fact
from trainer.foreign.repository import Repository

FLAG = "--budget"
_NAMED = re.compile(
    r"^\s*(?:export\s+)?((?:[A-Z]+_)?(?:TIME_BUDGET|TRAIN_SECONDS|TRAINING_SECONDS|MAX_SECONDS|TIME_LIMIT|BUDGET_SECONDS"
    r"|MAX_TIME|WALL_SECONDS|BUDGET)(?:_S|_SEC|_SECONDS)?)\s*(?::\s*\w+\s*)?[:?]?=\s*([-+*/0-9._ ()]+?)\s*(?:[#;].*)?$"
)
_SPOKEN = re.compile(
    r"(?:budget|takes?|runs? for|limit|fixed)\D{0,60}?(\d+(?:\.\d+)?)[ -]?(s|sec|seconds?|m|min|minutes?|h|hours?)\b",
    re.IGNORECASE,
)
_ASSUMED = 60.0
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Budget:
    """Seconds of one experiment; ``constant`` is FILE:NAME where Metaloop can make it smaller, or empty."""

    fact: Fact
    constant: str = ""


def find(repository: Repository, given: float | None) -> Budget:
    """The flag's, else a constant's of the code, else what the prose says, else an assumption that is told as one."""
    for file in repository.code:
        for line in repository.lines(file):
            match = _NAMED.match(line.text)
            seconds = _arithmetic(match[2]) if match else None
            if match is None or seconds is None or not 0 < seconds < 1e7:
                continue
            held = file.endswith(".py") and match[1] in constants.read(repository.text(file))
            place = f"{file}:{match[1]}" if held else ""
            if given is not None:
                return Budget(Fact("budget", given, "given", FLAG), "")
            return Budget(Fact("budget", seconds, line.where, FLAG, match[1]), place)
    if given is not None:
        return Budget(Fact("budget", given, "given", FLAG))
    for file in repository.prose:
        for line in repository.lines(file):
            if spoken := _SPOKEN.search(line.text):
                seconds = float(spoken[1]) * _UNITS[spoken[2][0].lower()]
                if 0 < seconds < 1e7:
                    return Budget(Fact("budget", seconds, line.where, FLAG, "as the text says"))
    return Budget(Fact("budget", _ASSUMED, "assumed", FLAG, "no constant and no sentence names a time"))


def _arithmetic(text: str) -> float | None:
    """The value of numbers joined by * / + -, without evaluating anything else."""
    try:
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError, ZeroDivisionError):
        return None


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Div):
            return left / right
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
    raise ValueError("no such arithmetic")
