"""Texts of strangers that once took minutes or ended a study: each is now read, refused in one line, or set aside."""

from __future__ import annotations

import io
import os
import signal
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import duckdb
import pytest

from analysis.imports.columns import Stated
from analysis.imports.runs import runs_of
from analysis.imports.table import UnreadableLog, read_log
from analysis.knowledge.store import query, read, write
from analysis.study import query as ask_study
from arena.contest.web.host import weight_of
from bench.simulated_tasks import random_law, simulated_task
from inner_loop.chat.reply import parse
from inner_loop.events import FindingEvent
from meta.mutators.llm.reply import BadReply, build_child, parse_reply
from programs.common import bounded
from programs.common import registry as registry_module
from programs.common.errors import MetaloopError, UsageError
from programs.diff import diff, moved
from programs.folder import from_zip
from programs.program import Program
from tests.analysis.test_knowledge import effect
from tests.inner_loop.test_night import MINE, night
from tests.meta.cli_study import metaloop
from tests.studies import planted
from tests.trainer.limited_task import TASK
from trainer.edits import EditSpace, Knob, read_value
from trainer.task import Task
from trainer.values import conditional, nested_values

SOON = 20.0  # seconds of what took minutes


@contextmanager
def soon(seconds: float = SOON) -> Iterator[None]:
    """What is in it ends in time."""

    def too_long(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# -- texts of candidates -------------------------------------------------------------------------------------------

BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 12)
)
HONEST = "optim:\n  steps: 100\n"


WILD = {
    "config.yaml": [
        BOMB, "a: &a {b: *a}\n", "- " * 30_000, "a: " + "[" * 30_000, f"a: {'9' * 5_000}\n", "a: e5\n", "a: ._e5\n",
        "? " * 9_000,
    ],
    "train.py": [  # a sum of 1,500 terms was a RecursionError, which ended the study
        "x = " + "+".join(["1"] * 1_500), "x = " + "*".join(["1"] * 1_500), "x = " + " + ".join(["'a'"] * 1_500),
        "x = 1e-300 ** -62", "x = f" + ".a" * 1_500 + "(b=1)", "x = " + "-" * 900 + "1",
        "if a:\n pass\n" + "elif a:\n pass\n" * 1_500,
    ],
    "a.toml": ["a" + ".a" * 12_000 + "=1\n", "a" + ".a" * 100_000 + "=1\n", 'x = """' + "[" + " " * 60_000 + '\n"""\n',
               'x = """\n[' + " a" * 30_000 + '\n"""\n'],
    "a.json": ['{"a": ' + "9" * 5_000 + "}", "[" * 60_000],
}  # fmt: skip
KEPT = {"config.yaml": (HONEST, "optim.steps", 100), "train.py": ("class Config:\n    lr = 0.5\n", "Config.lr", 0.5)}


@pytest.mark.parametrize(("file", "text"), [(file, text) for file, texts in WILD.items() for text in texts])
def test_file_of_a_candidate_is_read_soon_with_its_honest_values(file: str, text: str) -> None:
    """F8, F9, F10, F25, F26 and their relatives."""
    honest, name, value = KEPT.get(file, ("", "", None))
    with soon():
        values = nested_values.read(file, f"{honest}{text}\n")
    if file == "train.py" or name in values:
        assert values.pop(name).value == value
    assert values.keys() <= {"a"} or file == "train.py"


def test_yaml_with_an_anchor_keeps_the_values_of_one_place() -> None:
    text = "base: &base\n  lr: 0.1\nrun:\n  <<: *base\n  steps: 5\nlist: [*base, 2]\n"
    assert {name: one.value for name, one in nested_values.read("a.yaml", text).items()} == {
        "run.steps": 5,
        "list[1]": 2,
    }


# -- texts of programs ---------------------------------------------------------------------------------------------

WIDTH = Knob("WIDTH", "int", (64, 96), 16, 512)
LR = Knob("LR", "float", (0.1, 0.2))
SPACE = EditSpace((WIDTH, LR))
LONG = "1" + "0" * 400


@pytest.mark.parametrize(
    "term",
    [f"WIDTH={LONG}", f"LR={LONG}", f"WIDTH=*{LONG}", "WIDTH=*1e308", "WIDTH=/1e-310", f"WIDTH<{LONG}", "WIDTH=1e999"],
)
def test_idea_with_a_wild_number_is_one_that_no_task_allows(term: str) -> None:
    """F11, and relative values beyond floats."""
    compared = conditional.compared(term)
    edit = conditional.read(SPACE, [] if compared else [term], [compared] if compared else [])
    assert edit is None or edit.on({"WIDTH": 96, "LR": 0.1}) is None
    assert conditional.unread(SPACE, term)


def test_numbers_have_at_most_40_characters() -> None:
    assert read_value("9" * 40) == int("9" * 40) and read_value("9" * 41) == "9" * 41
    assert bounded.number("1_000") == 1000 and bounded.number("1e101") is None and bounded.number("nan") is None
    assert WIDTH.legal(10**400) is None and WIDTH.legal(float("inf")) is None and LR.legal(10**400) is None


def test_idea_of_many_blanks_is_read_soon() -> None:
    words = " " * 50_000
    with soon():
        Program.parse(f"# P\n\nDo it.\n\n## Ideas\n\n- Set `lr=1{words}x{words}` and `{words}+{words}patch:x{words}`\n")


def test_diff_of_long_lists_in_another_order_ends_soon() -> None:
    """F23."""
    ideas = [f"- Set `WIDTH={n}` for once\n" for n in range(4_000)]
    old, new = (Program.parse("# P\n\nDo it.\n\n## Ideas\n\n" + "".join(own)) for own in (ideas, ideas[::-1]))
    other = Program.parse("# P\n\nDo it.\n\n## Ideas\n\n" + "".join(idea.replace("once", "all") for idea in ideas))
    with soon(60):
        assert len(moved(old, new)) == 3_999 and [a.kind for a, _ in diff(old, new).changed] == ["order"]
        assert len(diff(old, other).added) == 4_000


def test_zip_of_files_that_name_each_other_is_refused_soon() -> None:
    """G1: four times the time for twice the files."""
    target = io.BytesIO()
    names = " ".join(f"b{n}.md" for n in range(1_500))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(60):
            archive.writestr(f"a{n}.md", f"# {n}\n\n{names}\n")
        for n in range(1_500):
            archive.writestr(f"b{n}.md", f"# {n}\n\na.md b.md\n")
    with soon(), pytest.raises(MetaloopError) as refused:
        from_zip(target.getvalue(), "program.md")
    assert "\n" not in refused.value.message


def test_zip_counts_by_the_size_of_its_texts() -> None:
    """G9."""
    target, text = io.BytesIO(), b"# P\n\n" + b"- Set `lr=1`\n" * 15_000
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("program.md", text)
    assert len(target.getvalue()) < 10_000 and weight_of(target.getvalue()) == weight_of(text) == 6
    assert weight_of(b"PK\x03\x04") == 1


# -- replies of models ---------------------------------------------------------------------------------------------


def test_reply_of_many_open_tags_is_read_soon() -> None:
    with soon():
        assert parse("<idea>" * 50_000 + "<pass>enough</pass>").passed == "enough"
    assert parse("<pass>a</pass><idea>b</idea> c <idea>d</idea><idea>e").ideas == ("b", "d")


@pytest.mark.parametrize(
    "text", ['{"ideas": ["' + "9" * 5_000 + '"]}', '{"charter": {"wave": ' + "9" * 400 + "}}", "{" * 9_000 + "}"]
)
def test_reply_with_a_wild_number_is_a_bad_one(text: str) -> None:
    with pytest.raises((BadReply, UsageError)):
        child = parse_reply(text)
        changed = build_child([Program.parse("# P\n\nDo it.\n\n## Ideas\n\n- Set `lr=1`\n")], child)
        raise BadReply(changed)


# -- logs and knowledge --------------------------------------------------------------------------------------------

HEAD = "commit\tval_loss\tstatus\tdescription\n"
ROWS = "".join(f"a{n}\t{1 - n / 100}\tkeep\tx\n" for n in range(5))


def test_log_with_a_line_of_dashes_is_read_soon(tmp_path: Path) -> None:
    """F6."""
    (tmp_path / "results.tsv").write_text(HEAD + ROWS + " " * 3_000 + "-" * 3_000 + "x\n")
    with soon():
        assert len(read_log(tmp_path / "results.tsv").tables[0].rows) == 5


def test_log_with_a_new_key_in_each_line_sets_rare_ones_aside(tmp_path: Path) -> None:
    """F7."""
    (tmp_path / "log.jsonl").write_text("".join(f'{{"loss": {1 + n}.5, "k{n}": 1}}\n' for n in range(4_000)))
    with soon():
        log = read_log(tmp_path / "log.jsonl")
        (run,) = runs_of(log, Stated(metric="loss"))
    assert len(log.tables[0].names) == 500 and len(run.rows) == 4_000
    assert sum("most frequent" in aside.reason for aside in log.asides) == 3_501


@pytest.mark.parametrize(
    "text",
    [
        "\t".join(["val_loss", "status", *map(str, range(9_000))]) + "\n" + "1\t2\t3\n" * 9_000,
        (HEAD + ROWS + "\n" + HEAD.replace("commit", "number") + ROWS + "\n") * 501,
        '{"val_loss": 1}\n' + "[\n" * 1_000_000,
        ("[" + "0," * 40_000 + "\n") * 800,
        "[" + "{}," * 4_000_001 + "{}]",
    ],
    ids=["wide", "headers", "deep", "open", "objects"],
)
def test_log_beyond_the_limits_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "results.tsv").write_text(text.replace("val_loss", "loss", 1))
    with soon(), pytest.raises(UnreadableLog) as refused:
        read_log(tmp_path / "results.tsv")
    assert refused.value.hint


def test_log_with_a_huge_metric_sets_its_row_aside(tmp_path: Path) -> None:
    """F24."""
    rows = "|a|0.51e308|keep|x|\n|a|0.3e308|keep|re-run of a|\n|b|-1e299|keep|y|\n|b|1e299|keep|re-run of b|\n"
    (tmp_path / "log.md").write_text(
        "|commit|val_loss|status|description|\n|-|-|-|-|\n" + "|c|0.5|keep|z|\n" * 5 + rows
    )
    log = read_log(tmp_path / "log.md")
    (run,) = runs_of(log, Stated())
    assert len(run.rows) == 5 and sum("the metric is" in aside.reason for aside in log.asides) == 4


def test_knowledge_file_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    """F20."""
    os.mkfifo(tmp_path / "effects-x.parquet")
    for ask in (lambda: read([tmp_path]), lambda: query([tmp_path], "FROM effects")):
        with soon(), pytest.raises(MetaloopError, match="not a regular file"):
            ask()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("SELECT * FROM e, range(2_000_000)", "the maximum is 1,000,000 rows"),
        ("SELECT * REPLACE (repeat('x', 10_000_000) AS source) FROM e, range(100)", "the maximum is"),
        ("SELECT kind, source FROM e", "column"),
        ("SELECT * REPLACE ('{' AS context) FROM e", "no effect"),
        ("SELECT * REPLACE ('[1]' AS edit) FROM e", "no effect"),
        ("SELECT * REPLACE ('many' AS n) FROM e", "many"),
        (f"SELECT * REPLACE ('{'[' * 9_000}' AS context) FROM e", "no effect"),
    ],
    ids=["rows", "characters", "columns", "json", "list", "type", "depth"],
)
def test_knowledge_file_that_is_damaged_or_large_is_one_line(change: str, line: str, tmp_path: Path) -> None:
    """F21, F22."""
    honest, folder = write(tmp_path / "honest", [effect("a", "a1")]), tmp_path / "k"
    folder.mkdir()
    duckdb.connect().execute(f"CREATE VIEW e AS FROM '{honest}'").execute(
        f"COPY ({change}) TO '{folder}/effects-x.parquet' (COMPRESSION zstd)"
    )
    with soon(), pytest.raises(UsageError, match=line) as refused:
        read([folder])
    assert "\n" not in refused.value.message and refused.value.hint


# -- a study goes on -----------------------------------------------------------------------------------------------

PART = """
class Part:
    name = "broken"
    def __init__(self, start): pass
    def propose(self, situation, rng):
        if len(situation.history) > 2:
            raise RecursionError("a text that nobody foresaw")
        return None
"""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed proposer that fails in its third turn, as code does on a text that nobody foresaw."""
    (tmp_path / "broken_part.py").write_text(PART)
    about = tmp_path / "broken-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[metaloop.proposers]\nbroken = broken_part:Part\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry_module._installed.cache_clear()
    yield
    registry_module._installed.cache_clear()


@pytest.mark.usefixtures("broken")
def test_program_that_fails_ends_its_run_and_the_others_go_on(tmp_path: Path) -> None:
    task, study = planted(tmp_path / "task"), tmp_path / "s"
    (tmp_path / "bad.md").write_text("---\nmetaloop:\n  proposers: {broken: 1}\n---\n# Bad\n\nDo it.\n")
    (tmp_path / "good.md").write_text("# Good\n\nDo it.\n\n## Ideas\n\n- Try it.\n")
    words = ("match", tmp_path / "bad.md", tmp_path / "good.md", "-t", task.folder, "-n", "2", "-s", study)
    metaloop(*words)
    ends = ask_study(study, "SELECT state FROM runs")
    assert {row["state"] for row in ends} == {"finished"}
    found = ask_study(study, "SELECT kind, text FROM findings")
    assert len(found) == 2 and all("RecursionError: a text that nobody foresaw" in row["text"] for row in found)
    assert all("bad: " in row["text"] and row["kind"] == "program" for row in found)
    gains = ask_study(study, "SELECT count(*) AS n FROM verifications")
    metaloop("resume", study)  # a resume goes on, too
    assert ask_study(study, "SELECT count(*) AS n FROM verifications") == gains != [{"n": 0}]


@pytest.mark.usefixtures("broken")
def test_night_goes_on_without_the_program_that_fails(tmp_path: Path) -> None:
    bad = Program.parse("---\nmetaloop:\n  proposers: {broken: 1}\n---\n# Bad\n\nDo it.\n", "bad")
    law = Task.load(simulated_task(random_law(3, noise=0.1), tmp_path / "task"))
    result, events = night(law, tmp_path, 60, programs=(bad, MINE))
    (finding,) = (one for one in events if isinstance(one, FindingEvent))
    assert "RecursionError" in finding.text and "bad" in finding.text
    assert result.state == "finished" and result.experiments >= 50 and result.reason == ""
    again, _ = night(law, tmp_path, 60, programs=(bad, MINE), recorded=events[:40])
    assert again.final.source_id == result.final.source_id


CONFIG_TRAIN = """import os, random
x = 1
steps = int(open("config.yaml").read().split("steps: ")[1].split()[0])
random.seed(int(os.environ["METALOOP_TRAIN_SEED"]))
print("loss:", 100 / steps + 0.001 * random.random())
"""
STEPS = '[edits.STEPS]\nfile = "config.yaml"\nat = "optim.steps"\nkind = "int"\nvalues = [100, 200, 400]\n'
QUEUE = "---\nmetaloop:\n  proposers: {queue: 1}\n---\n# P\n\nDo it.\n\n## Ideas\n\n"
PATCH = "\n```patch:{} {}\n<<<<<<< SEARCH\n{}\n=======\n{}\n>>>>>>> REPLACE\n```\n"
BOMBS = {
    "aliases": ("config.yaml", HONEST.strip(), HONEST + BOMB),
    "circle": ("config.yaml", HONEST.strip(), HONEST + "a: &a {b: *a}"),
    "deep": ("config.yaml", HONEST.strip(), HONEST + "b: " + "{a: " * 900),
    "sum": ("train.py", "x = 1", "x = " + "+".join(["1"] * 1_500)),
    "blanks": ("train.py", "x = 1", "x = 1 #" + " " * 20_000 + "x"),
}


def test_hostile_patches_of_a_program_leave_the_study_intact(tmp_path: Path) -> None:
    """F8 to F11 in a study that trains: the patched files are read, trained and recorded."""
    task, study = tmp_path / "task", tmp_path / "s"
    task.mkdir()
    about = TASK.partition("[edits.PAD]")[0].replace('["train.py"]', '["train.py", "config.yaml"]') + STEPS
    for name, text in {"train.py": CONFIG_TRAIN, "config.yaml": HONEST, "task.toml": about}.items():
        (task / name).write_text(text)
    ideas = [f"- Do it: `patch:{name}`.\n- Do it: `patch:{name}` `STEPS={LONG}`.\n" for name in BOMBS]
    patches = [PATCH.format(name, *bomb) for name, bomb in BOMBS.items()]
    (tmp_path / "bad.md").write_text(QUEUE + "".join([*ideas, "\n## Patches\n", *patches]))
    (tmp_path / "good.md").write_text(QUEUE + "- Set `STEPS=400`.\n")
    with soon(120):
        metaloop("match", tmp_path / "bad.md", tmp_path / "good.md", "-t", task, "-n", 1, "-b", "5s", "-s", study)
    assert ask_study(study, "SELECT DISTINCT state, reason FROM runs") == [{"state": "finished", "reason": ""}]
    tried = {name for row in ask_study(study, "SELECT edit FROM experiments") for name in row["edit"]["apply"]}
    assert {name.split("_")[1] for name in tried} == BOMBS.keys()
