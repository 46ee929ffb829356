"""The seed of a foreign repository's training: an option, a variable, a constant, or a number in a call, which only an
edit of that line can make a seed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from trainer import constants
from trainer.foreign.commands import FLAG as COMMAND
from trainer.foreign.facts import RepositoryFact
from trainer.foreign.repository import ForeignRepository, RepositoryLine

FLAG = "--seed-variable"
VARIABLE = "METALOOP_SEED"
_READ = re.compile(r"""(?:environ(?:\.get)?|getenv)\s*[(\[]\s*["']((?:[A-Z]+_)?SEED)["']|\$\{(SEED):?-""")
_NAMES = ("SEED", "RANDOM_SEED", "seed", "random_seed", "TRAIN_SEED")
_FIXED = re.compile(
    r"(?P<call>\b(?:manual_seed(?:_all)?|seed_everything|set_seed|(?:np|numpy)\.random\.seed|random\.seed|default_rng"
    r"|RandomState|random\.Random)\(\s*(?:seed\s*=\s*)?)(?P<number>\d+)(?=\s*\))"
)
_FIELD = re.compile(
    r"(?P<call>^\s+(?:random_|train_)?seed\s*:\s*int\s*=\s*)(?P<number>\d+)(?=\s*(?:#|$))"
)  # of a class
_KEEP = re.compile(
    r"\bseeds?\b(?:[^.;()]|\([^()]*\)){0,30}\b(?:fixed|frozen|constant|unchanged|stays?|must not|may not)\b"
    r"|\b(?:do not|don't|never|must not)\b[^.;]{0,20}\b(?:change|touch|edit|modify|vary|tune)\b[^.;]{0,20}\bseeds?\b"
    r"|\bkeep\b[^.;]{0,12}\bseeds?\b",
    re.IGNORECASE,
)
_DATA = re.compile(r"split|data|val|test|fold|shuffle|sample|generat", re.IGNORECASE)
_DATA_FILE = re.compile(r"data|corpus|prepare|split", re.IGNORECASE)


def find(source: ForeignRepository, editable: Sequence[str], command: str, variable: bool) -> RepositoryFact:
    """Where each experiment's own seed goes, with a remark if the prose wants to keep one seed. ``variable``: lines
    with a fixed seed will read it from VARIABLE."""
    fact = _seed(source, editable, command, variable)
    keeps = next((line.where for line in source.lines(*source.prose) if _KEEP.search(line.text)), "")
    if not keeps or fact.value is None:
        return fact
    note = f"{keeps} wants one seed: experiments get different ones all the same, which separates noise from gain"
    return replace(fact, note="; ".join(filter(None, (fact.note, note))))


def _seed(source: ForeignRepository, editable: Sequence[str], command: str, variable: bool) -> RepositoryFact:
    if "{seed}" in command:
        return RepositoryFact("seed", "", "the command", COMMAND, "{seed} in the command")
    if name := next(iter(variables(source)), None):
        return RepositoryFact("seed", "", name, COMMAND, f"the variable {name}")
    for file in [*editable, *source.code]:
        known = constants.read(source.text(file)) if file.endswith(".py") else {}
        for name in _NAMES:
            if type(known.get(name)) is int:
                number = next((line.number for line in source.lines(file) if line.text.startswith(name)), 1)
                return RepositoryFact("seed", f"{file}:{name}", f"{file}:{number}", COMMAND)
    lines = fixed(source)
    if lines and variable:
        where = ", ".join(line.where for line in lines)
        return RepositoryFact("seed", "", where, FLAG, f"these lines are changed to read the variable {VARIABLE}")
    if lines:
        first = lines[0]
        note = f"fixed in the code ({first.text.strip()[:60]}): every experiment has the same; {FLAG} changes the line"
        return RepositoryFact("seed", None, first.where, FLAG, note)
    note = "the command takes no seed; use {seed} in --command if it has an option for one"
    return RepositoryFact("seed", None, "not found", COMMAND, note)


def fixed(source: ForeignRepository) -> list[RepositoryLine]:
    """The lines of Python that set a training seed to a number; not those that seem to choose data."""
    python = [file for file in source.code if file.endswith(".py")]
    python = [file for file in python if not _DATA_FILE.search(file.rsplit("/", 1)[-1])]
    fixed_lines = [line for line in source.lines(*python) if _match(line.text) and not _DATA.search(line.text)]
    return [line for line in fixed_lines if not line.text.lstrip().startswith("#")]


def _match(text: str) -> bool:
    return bool(_FIXED.search(text) or _FIELD.search(text))


def variables(source: ForeignRepository) -> list[str]:
    """The environment variables from which the code reads a seed."""
    matches = (match for line in source.lines(*source.code) for match in _READ.finditer(line.text))
    return list(dict.fromkeys(match[1] or match[2] for match in matches))


def rewritten(source: ForeignRepository) -> Mapping[str, str]:
    """The files with a fixed seed, as text in which these lines read it from VARIABLE, the number being the default."""
    texts: dict[str, list[str]] = {}
    for line in fixed(source):
        lines = texts.setdefault(line.file, source.text(line.file).splitlines(keepends=True))
        read = rf'\g<call>int(__import__("os").environ.get("{VARIABLE}", \g<number>))'
        form = _FIXED if _FIXED.search(line.text) else _FIELD
        lines[line.number - 1] = form.sub(read, lines[line.number - 1])
    return {file: "".join(lines) for file, lines in texts.items()}
