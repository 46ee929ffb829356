"""Finds the command that an experiment runs: in the program, the README, a Makefile, or by well-known file names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import pairwise

from trainer.foreign.facts import RepositoryFact, missing
from trainer.foreign.repository import ForeignRepository, RepositoryLine

FLAG = "--command"
_STARTS = re.compile(
    r"(?:(?:\./)?\.?venv/bin/python3?|uv run|python3?"
    r"|make|bash|sh|\./[\w./-]+|pytest|cargo (?:run|bench|test)|go (?:run|test)|node|bun|deno"
    r"|npm (?:run|test|start)|yarn|pnpm|perl|ruby|lua|php|java|dotnet|swift|zig|cmake"
    r"|julia|Rscript|torchrun|nvcc|gcc|cc|g\+\+)\b.*"
)
_INLINE = re.compile(r"`([^`]{3,200})`")
_AFTER_COLON = re.compile(r":\s+((?:python3?|bash|sh|make|\./)\s?[^`]*)$")
# Where a sentence goes on after its command, without backticks: ``python train.py prints val_loss``.
_SENTENCE = re.compile(
    r"\s+(?:prints|writes|reports|outputs|shows|saves|returns|takes|trains|measures|computes|evaluates"
    r"|and|which|should|will|must)\s+\S"
)
_REDIRECT = re.compile(r"\s*(?:\d?>>?\s*&?\S+|\|\s*(?:tee|tail|head|grep)\b.*|<\s*\S+)")
_BEFORE = re.compile(r"^(?:\$|>|%|❯)\s+|^(?:time|nohup|timeout\s+\S+)\s+")
_WORDS = re.compile(r"run|experiment|train|bench|test|score|measure", re.IGNORECASE)
_SETUP = re.compile(r"\b(?:prepare|setup|install|download|sync|clean|clone|plot|analy[sz]e|-m venv)", re.IGNORECASE)
_TARGETS = ("bench", "benchmark", "train", "run", "eval", "score", "test")
_FILES = ("train.py", "run.sh", "bench.sh", "train.sh", "benchmark.py", "bench.py", "evaluate.py", "main.py", "run.py")
_BUILT_BY = {
    "cargo": ("Cargo.toml",), "go": ("go.mod",), "npm": ("package.json",), "yarn": ("package.json",),
    "pnpm": ("package.json",), "zig": ("build.zig",), "cmake": ("CMakeLists.txt",),
}  # fmt: skip
_SOURCES_OF = {"cargo": ("rs",), "go": ("go",), "zig": ("zig",)}
_SEED_NAME = r"(?:seed|random[-_]state|rng)"
_SEED_ARGUMENT = re.compile(
    rf"""(?:add_argument|\.option)\(\s*(?:["']-\w["']\s*,\s*)?["'](--(?:[\w-]+[-_])?{_SEED_NAME})["']"""
)
_SHORT_SEED = re.compile(r"""add_argument\(\s*["'](-\w)["']\s*,[^)]*?dest\s*=\s*["']seed["']""")
_SEED_FIELD = re.compile(r"^    (seed)\s*:\s*int\s*=", re.MULTILINE)
_FIELD_OPTIONS = re.compile(r"""add_argument\(\s*(?:["']--["']\s*\+|f["']--\{)""")  # an option for every field
_ENVIRONMENT = re.compile(r"(?:[A-Z][A-Z0-9_]*=[\w./:-]+\s+)+")
_STARTS_OTHERS = re.compile(r"\b(?:subprocess|os\.system|Popen|check_call|kubectl|sbatch|srun)\b")
_MAKEFILES = ("Makefile", "makefile", "GNUmakefile")


def find(repository: ForeignRepository, given: str | None, printer: str = "") -> RepositoryFact:
    """The command as one shell line, without redirections of its output, which Metaloop reads. ``printer``: the file
    that prints the metric: a command that runs it is likelier than one that runs no file of the repository."""
    if given:
        return RepositoryFact("command", given, "given", FLAG)
    spoken = [
        (line, command)
        for line in _spoken(repository)
        if (command := _command(line.text, repository)) and not _is_other_language(command, printer)
    ]
    if spoken:
        runs = {command: _scripts(command, repository) for _, command in spoken}
        if any(printer in files for files in runs.values()):
            spoken = [(line, command) for line, command in spoken if runs[command]]
        line, command = min(spoken, key=lambda pair: _rank(repository, *pair))
        if other := _contradiction(repository, line, command, spoken):
            return missing("command", FLAG, f"{line.where} names {command}, and {other.where} {other.text}")
        return RepositoryFact("command", command, line.where, FLAG)
    named = [(name, r"([\w-]+)\s*:(?!=)", "make") for name in _MAKEFILES]
    for name, pattern, runner in [*named, ("package.json", r'\s*"([\w:-]+)"\s*:\s*"', "npm run")]:
        lines = repository.lines(name) if name in repository.files else ()
        targets = {match[1]: line for line in lines if (match := re.match(pattern, line.text))}
        for target in _TARGETS:
            if target in targets:
                return RepositoryFact("command", f"{runner} {target}", targets[target].where, FLAG)
    for name in _FILES:
        if name in repository.files:
            runner = "python" if name.endswith(".py") else "bash"
            note = "guessed from the file's name; the command is documented nowhere"
            return RepositoryFact("command", f"{runner} {name}", name, FLAG, note)
    return missing("command", FLAG, "no file contains the command of an experiment")


def _contradiction(
    repository: ForeignRepository, line: RepositoryLine, command: str, spoken: Sequence[tuple[RepositoryLine, str]]
) -> RepositoryLine | None:
    """A command of another page that is as likely and runs other scripts: one of the pages is out of date."""
    own, likely = set(_scripts(command, repository)), _rank(repository, line, command)[:2]
    for_agents = line.file in repository.for_agents
    for other, said in spoken:
        scripts = set(_scripts(said, repository))
        apart = other.file != line.file and own and scripts and not own & scripts
        if (
            apart
            and for_agents == (other.file in repository.for_agents)
            and _rank(repository, other, said)[:2] == likely
        ):
            return RepositoryLine(other.file, other.number, said)
    return None


def _spoken(repository: ForeignRepository) -> Iterator[RepositoryLine]:
    """Possible commands in the prose: lines of code blocks, and text in backticks."""
    for name in repository.prose:
        fenced = False
        for line in repository.lines(name):
            if line.text.lstrip().startswith(("```", "~~~")):
                fenced = not fenced
                continue
            block = fenced or line.text.startswith(("    ", "\t"))  # an indented line is code
            pieces = [line.text.strip().strip("`")] if block else _INLINE.findall(line.text)
            if block and not fenced:
                pieces = [_without_sentence(piece) for piece in pieces]
            elif said := _AFTER_COLON.search(line.text):
                pieces.append(_without_sentence(said[1]))
            for piece in pieces:
                yield RepositoryLine(line.file, line.number, piece)


def _without_sentence(text: str) -> str:
    """The command before the rest of its sentence; a verb within quotes is an argument."""
    for rest in _SENTENCE.finditer(text):
        try:
            shlex.split(before := text[: rest.start()])
        except ValueError:
            continue
        return before
    return text


def _command(text: str, repository: ForeignRepository) -> str:
    """The command in a piece of text in the form to run here, or an empty string."""
    text = re.split(r" #|\s{3,}", text.strip())[0].strip()  # what follows explains it
    while (shorter := _BEFORE.sub("", text)) != text:
        text = shorter
    text = _REDIRECT.sub("", text).strip()
    if surrounded := _ENVIRONMENT.match(text):
        inner = _command(text[surrounded.end() :], repository)
        return surrounded[0] + inner if inner else ""
    if not _STARTS.fullmatch(text) or len(text) > 200 or any(mark in text for mark in "<>;|{}…"):
        return ""
    text = plain_python(text)
    if _SETUP.search(text) or not _is_there(text, repository):
        return ""
    return text


def plain_python(text: str) -> str:
    """A command without ``uv run``, which needs the network; the environment must exist already."""
    inner = re.sub(r"^uv run(?:\s+--?[\w-]+(?:=\S+)?)*\s+", "", text)
    return f"python {inner}" if inner != text and inner.split()[0].endswith(".py") else inner


def _is_there(text: str, repository: ForeignRepository) -> bool:
    """Whether the files that a command names are in the repository."""
    try:
        words = shlex.split(text)
    except ValueError:
        return False
    named = [word.removeprefix("./") for word in words if re.search(r"\.(?:py|sh|jl|R|js|c|cpp|rs)$", word)]
    if words[0].startswith("./"):
        named.append(words[0].removeprefix("./"))
    if words[0] in ("python", "python3", "bash", "sh") and not named:
        return len(words) > 2 and words[1] == "-m"
    if built := _BUILT_BY.get(words[0]):
        return any(name in repository.files for name in built)
    if words[0] == "make":
        return any(name in repository.files for name in _MAKEFILES)
    return all(name in repository.files for name in named)


def _rank(repository: ForeignRepository, line: RepositoryLine, command: str) -> tuple[bool, bool, int, int, int]:
    """Sort key, lower is likelier: no launcher, commands that train, then more important files, then earlier lines."""
    train = "train" in command or "bench" in command
    return (
        _launches(command, repository),
        not train,
        repository.prose.index(line.file),
        -len(_WORDS.findall(command)),
        line.number,
    )


def _is_other_language(command: str, printer: str) -> bool:
    """Whether it only runs what a build tool makes, and the file that prints the metric is in another language."""
    own = _SOURCES_OF.get(command.split()[0], ())
    return bool(own) and printer.rpartition(".")[2] not in own


def _launches(command: str, repository: ForeignRepository) -> bool:
    """Whether its script starts another script of the repository, as a loop of experiments does."""
    return any(is_launcher(name, repository) for name in scripts_of(command, repository))


def is_launcher(name: str, repository: ForeignRepository) -> bool:
    text = repository.text(name) if name.endswith(".py") else ""
    others = (other for other in repository.code if other.endswith(".py") and other != name)
    return bool(_STARTS_OTHERS.search(text)) and any(other in text for other in others)


def _scripts(command: str, repository: ForeignRepository) -> list[str]:
    """The files that a command runs, also through a target of a Makefile."""
    return scripts_of("\n".join(line.text for line in expanded(command, repository)), repository)


def seed_option(command: str, repository: ForeignRepository) -> str:
    """The option of the command's script that sets the training seed, as argparse declares it; empty without one."""
    if re.search(rf"\s--?[\w-]*{_SEED_NAME}\b|\{{seed\}}", command) or re.search(r"[;&|]", command):
        return ""
    for name in scripts_of(command, repository):
        text = repository.text(name)
        if _SEED_FIELD.search(text) and _FIELD_OPTIONS.search(text):
            return "--seed"
        for option in (*_SEED_ARGUMENT.findall(text), *_SHORT_SEED.findall(text)):
            if not re.search(r"data|split|val|test|eval", option):
                return str(option)
    return ""


def expanded(command: str, repository: ForeignRepository) -> list[RepositoryLine]:
    """The command and the lines that it runs: a target's recipe, a shell script, a script of package.json."""
    lines = [RepositoryLine("the command", 0, command)]
    if made := re.match(r"(?:\S+=\S+\s+)*make\s+(?:-\S+\s+)*([\w-]+)", command):
        for name in _MAKEFILES:
            if name in repository.files:
                lines += _recipe(list(repository.lines(name)), made[1])
    if named := re.match(r"(?:npm run|yarn|pnpm(?: run)?|bun run)\s+([\w:-]+)", command):
        script = re.compile(rf'\s*"{re.escape(named[1])}"\s*:\s*"(.*)"')
        matches = ((line, script.match(line.text)) for line in repository.lines("package.json"))
        lines += [RepositoryLine(line.file, line.number, match[1]) for line, match in matches if match]
    for name in scripts_of(" ".join(line.text for line in lines), repository):
        if name.endswith((".sh", ".bash")):
            own = (line for line in repository.lines(name) if not line.text.lstrip().startswith("#"))
            lines += [RepositoryLine(line.file, line.number, re.sub(r"\s#.*", "", line.text)) for line in own]
    return lines


def _recipe(lines: list[RepositoryLine], target: str, depth: int = 0) -> list[RepositoryLine]:
    """The lines of a target of a Makefile and of those that it needs, with the values of its variables."""
    pairs = (re.match(r"(\w+)\s*[:?]?=\s*(.*?)\s*(?:#.*)?$", line.text) for line in lines)
    values = {match[1]: match[2] for match in pairs if match}
    start = next((at for at, line in enumerate(lines) if re.match(rf"{re.escape(target)}\s*:(?!=)", line.text)), None)
    if start is None or depth > 3:
        return []
    recipe = []
    for needed in lines[start].text.partition(":")[2].split("#")[0].split():
        recipe += _recipe(lines, needed, depth + 1)
    for line in lines[start + 1 :]:
        if line.text.strip() and not line.text.startswith("\t"):
            break
        text = re.sub(r"\$[({](\w+)[)}]", lambda match: values.get(match[1], match[0]), line.text.strip().lstrip("@-"))
        recipe.append(RepositoryLine(line.file, line.number, text))
    return recipe


def scripts_of(command: str, repository: ForeignRepository) -> list[str]:
    """The files of the repository that a command names."""
    words = re.split(r"[\s;&|]+", command)
    modules = [later.replace(".", "/") for flag, later in pairwise(words) if flag == "-m"]
    words += [name for module in modules for name in (f"{module}.py", f"{module}/__main__.py")]
    return [name for word in words if (name := word.strip("'\"").removeprefix("./")) in repository.files]
