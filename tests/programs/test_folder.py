"""Programs of several files: what belongs to them, their ids and addresses, what is stored, what is refused."""

from __future__ import annotations

import io
import os
import unicodedata
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from programs import shelf
from programs.common.errors import Ambiguous, MetaloopError, NotFound, ProgramError
from programs.diff import diff
from programs.edit import without
from programs.file_set import MAX_FILES, is_document, named_files
from programs.folder import entry_of, from_zip, left_out, load
from programs.lint import check, lint
from programs.program import Program, program_id

CRITIC = "# Critic\n\nYou doubt.\n\n## Process\n\n1. Read the diff.\n2. Ask for a repeat.\n3. Write what you saw.\n"
SKILL = "---\nname: screen\ndescription: short looks\ntools: [Bash, Read]\n---\n# Screen\n\n- Train a quarter first.\n"
ROLES = "roles/critic.md"
ROLE = {ROLES: CRITIC}
SCREEN = {"skills/screen.md": SKILL}
MANY = [f"roles/{n}.md" for n in range(MAX_FILES + 1)]
LIVING = "---\nliving: true\n---\n# Found\n\n- Nothing yet.\n"


@dataclass(frozen=True)
class Case:
    """The files of a folder; what should be read of it: other files, living ones, and the codes of lint."""

    name: str
    files: dict[str, str]
    others: str = ""
    living: str = ""
    codes: str = ""
    entry: str = "program.md"
    left: str = ""


def p(text: str) -> str:
    return f"# Lab\n\n{text}\n"


CASES = (
    Case("one file", {"program.md": p("Lower the loss.")}),
    Case("named in each way",
         {"program.md": p("Ask [the critic](roles/critic.md#process), `a.md`, b.md, ./c.md and [it][d].\n\n[d]: d.md"),
          **ROLE, "a.md": "A.\n", "b.md": "B.\n", "c.md": "C.\n", "d.md": "D.\n"}, f"a.md b.md c.md d.md {ROLES}"),
    Case("CLAUDE.md",
         {"CLAUDE.md": p("Use `skills/screen.md`."), **SCREEN, "README.md": "# Repo\n"},
         "skills/screen.md", entry="CLAUDE.md"),
    Case("import", {"CLAUDE.md": "# C\n\n@AGENTS.md\n", "AGENTS.md": "A.\n"}, "AGENTS.md", entry="CLAUDE.md"),
    Case("same CLAUDE.md and AGENTS.md", {"AGENTS.md": p("Go."), "CLAUDE.md": p("Go.")}, left="CLAUDE.md"),
    Case("README.md", {"README.md": p("Append it to roles/critic.md."), **ROLE}, ROLES, entry="README.md"),
    Case("only .md file", {"lab.md": p("Read roles/critic.md."), **ROLE}, ROLES, entry="lab.md"),
    Case("README.md beside",
         {"program.md": p("Read README.md and [licence](LICENSE.md)."), "README.md": "# R\n",
          "LICENSE.md": "MIT\n"}),
    Case("chain",
         {"program.md": p("See a/one.md."), "a/one.md": "See [two](two.md).\n",
          "a/two.md": "See ../b/three.md.\n", "b/three.md": "End.\n"}, "a/one.md a/two.md b/three.md"),
    Case("circle",
         {"program.md": p("See a.md."), "a.md": "See b.md.\n", "b.md": "See a.md and program.md.\n"},
         "a.md b.md"),
    Case("from the top",
         {"program.md": p("See roles/a.md."), "roles/a.md": "Ask skills/b.md.\n", "skills/b.md": "B.\n"},
         "roles/a.md skills/b.md"),
    Case("a folder is not named whole",
         {"program.md": p("The roles are in `roles/`."), "roles/a.md": "A.\n"}, left="roles/a.md"),
    Case("living by front matter",
         {"program.md": p("Read found.md."), "found.md": LIVING}, "", "found.md"),
    Case("dead link", {"program.md": p("See [it](roles/gone.md).")}, codes="no-file"),
    Case("charter of a role",
         {"program.md": p("See a.md."), "a.md": "---\nmetaloop:\n  wave: 3\n---\nA.\n"},
         "a.md", codes="not-entry"),
    Case("ideas of a role",
         {"program.md": p("See a.md."), "a.md": "## Ideas\n\n- `lr=1`\n"}, "a.md", codes="not-entry"),
    Case("unicode",
         {"program.md": p("Lies rollen/prüfer.md und `技能/屏.md`."), "rollen/prüfer.md": "Zweifle.\n",
          "技能/屏.md": "先。\n"}, "rollen/prüfer.md 技能/屏.md"),
    Case("no files",
          {"program.md": p("See https://x.org/a.md, mail@b.md, `a.py`, x.mdx, {{name}}.md and *.md."), "a.md": "A.\n"},
         left="a.md"),
    Case("in code", {"program.md": p("```\ncat a.md\n```"), "a.md": "A.\n"}, left="a.md"),
    Case("hidden folder",
         {"program.md": p("Use .claude/skills/s.md."), ".claude/skills/s.md": SKILL}, ".claude/skills/s.md"),
)  # fmt: skip


EVERY = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def lay(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    return folder


def names(text: str) -> list[str]:
    return sorted(text.split("|" if "|" in text else None))


def zipped(files: dict[str, str], top: str = "") -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(top + name, text)
    return target.getvalue()


@EVERY
def test_files_that_belong_to_a_program_are_those_it_names(tmp_path: Path, case: Case) -> None:
    program = load(folder := lay(tmp_path / "lab", case.files))
    assert [path for path, _ in program.files[1:]] == names(case.others)
    assert [path for path, _ in program.living] == names(case.living) and left_out(folder, program) == names(case.left)
    assert {m.code for m in lint(program)} - {"like-stock"} == set(case.codes.split())
    entry = entry_of(folder).name
    assert program.name == "lab" and program.text == case.files[case.entry if program.is_set else entry]
    by_file = load(folder / entry)
    assert (by_file.program_id, by_file.files, by_file.living) == (program.program_id, program.files, program.living)


@EVERY
def test_program_that_is_stored_or_packed_is_the_same(tmp_path: Path, case: Case) -> None:
    program = load(lay(tmp_path / "lab", case.files))
    again, (packed, _) = Program.parse(program.document, program.name), from_zip(zipped(case.files, "lab/"), "lab")
    for other in (again, packed, program.with_text(program.text)):
        assert other == program and other.program_id == program.program_id and other.directives == program.directives
    assert again.document == program.document and program_id(program.document.encode()) == program.program_id
    assert is_document(program.document) == program.is_set
    program.write(tmp_path / "copy" / "lab")
    assert load(tmp_path / "copy" / "lab" / program.files[0][0]).program_id == program.program_id


@EVERY
def test_every_directive_has_an_id_and_an_address_of_its_own(tmp_path: Path, case: Case) -> None:
    program = load(lay(tmp_path / "lab", case.files))
    ids = [d.directive_id for d in program.directives]
    assert len(set(ids)) == len(ids) == len(set(program.addresses.values()))
    assert [d.position for d in program.directives] == list(range(len(ids)))
    alone = Program.parse(program.text)
    assert ids[: len(alone.directives)] == [d.directive_id for d in alone.directives]
    for directive in program.directives:
        text = program.further[directive.file] if directive.file else program.text
        first = directive.text.split()[0].split(".")[0][:8]
        assert directive.kind == "code" or first in text.splitlines()[directive.line - 1]
        assert program.addresses[directive.directive_id].startswith(directive.file)


def test_directive_is_addressed_by_file_heading_and_number() -> None:
    text = "---\nmetaloop:\n  wave: 2\n---\n# Lab\n\nGo.\n\n## Ideas\n\n- `a=1`\n"
    assert list(Program.parse(text, others=ROLE).addresses.values()) == [
        "charter › wave", "1", "Ideas › order", "Ideas › 1", "roles/critic.md › 1",
        "roles/critic.md › Process › 1", "roles/critic.md › Process › 2", "roles/critic.md › Process › 3",
    ]  # fmt: skip


def test_ids_depend_on_paths_and_texts_not_on_order_or_line_ends() -> None:
    def of(others: dict[str, str], **more: Any) -> str:
        return Program.parse("x\n", others=others, **more).program_id

    one, log = {"a.md": "A.\n", "b.md": "B.\n"}, {"log.md": "old\n"}
    assert of(one) == of({"b.md": "B. \r\n", "a.md": "A.\n"}) == of(one, living=log)
    assert of({}, entry="CLAUDE.md") == of({}, living=log) == of({})
    others = [{}, {"a.md": "A.\n"}, {"a.md": "B.\n", "b.md": "A.\n"}, {"c.md": "A.\n", "b.md": "B.\n"}]
    assert len({of(one), of(one, entry="CLAUDE.md"), *map(of, others)}) == 6


def test_single_files_keep_their_ids_and_texts(tmp_path: Path) -> None:
    assert shelf.starter("stock").program_id == "p807911e357f8"
    for starter in shelf.starters():
        (tmp_path / "program.md").write_bytes(starter.raw)
        read = load(tmp_path / "program.md")
        assert not read.is_set and (read.document, read.program_id) == (starter.text, starter.program_id)


@pytest.mark.parametrize(
    ("files", "error", "says"),
    [
        ({"CLAUDE.md": "A.\n", "AGENTS.md": "B.\n"}, Ambiguous, "AGENTS.md, CLAUDE.md"),
        ({"a.md": "A.\n", "b.md": "B.\n"}, Ambiguous, "a.md, b.md"),
        ({"train.py": "x\n"}, NotFound, "no .md file"),
        ({"program.md": "See a.md.\n", "a.md": "\n"}, ProgramError, "a.md:1: the file is empty"),
        ({"program.md": "See a.md.\n", "a.md": "\0"}, ProgramError, "a.md:1: the file is binary"),
        ({"program.md": "See a.md.\n" + "x" * 100_000, "a.md": "x" * 200_000}, ProgramError, "bytes together"),
        ({"program.md": " ".join(MANY) + "\n", **dict.fromkeys(MANY, "x\n")}, ProgramError, "the maximum is 64"),
        ({"program.md": "See a.md.\n", "a.md": "A.\n==> b.md <==\n"}, ProgramError, "a.md:1: a line ==> PATH <=="),
    ],
)  # fmt: skip
def test_folder_is_refused_in_a_line(
    tmp_path: Path, files: dict[str, str], error: type[MetaloopError], says: str
) -> None:
    folder = lay(tmp_path / "lab", files)
    with pytest.raises(error) as caught:
        load(folder)
    assert says in caught.value.message and "\n" not in caught.value.message and caught.value.hint


def test_files_that_lead_out_of_the_folder_are_no_part_of_it(tmp_path: Path) -> None:
    lay(tmp_path, {"lab/program.md": "See roles/a.md.\n", "lab/roles/real.md": "A.\n", "secret.md": "S.\n"})
    os.symlink("real.md", tmp_path / "lab" / "roles" / "a.md")
    assert [path for path, _ in load(tmp_path / "lab").files] == ["program.md", "roles/a.md"]
    os.symlink(tmp_path / "secret.md", tmp_path / "lab" / "b.md")
    lay(tmp_path, {"lab/program.md": "See b.md.\n"})
    with pytest.raises(ProgramError, match=r"b\.md:1: this symbolic link leads out"):
        load(tmp_path / "lab")
    lay(tmp_path, {"lab/program.md": f"See [up](../secret.md) and {tmp_path}/secret.md.\n"})
    program = load(tmp_path / "lab")
    assert not program.is_set and "no-file" in {m.code for m in lint(program)}


def test_file_with_a_decomposed_name_is_found(tmp_path: Path) -> None:
    lay(tmp_path, {"program.md": "Lies prüfer.md.\n", unicodedata.normalize("NFD", "prüfer.md"): "Ja.\n"})
    assert [path for path, _ in load(tmp_path).files] == ["program.md", "prüfer.md"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("==> a.md <==", "==> ../a.md <=="),
        ("==> a.md <==", "==> a.py <=="),
        ("==> a.md <==", "==> program.md <=="),
        ("==> a.md <==\n", "==> a.md <==\n==> b.md <==\n"),
    ],
)
def test_a_text_of_several_files_that_cannot_be_one_is_refused(old: str, new: str) -> None:
    broken = Program.parse("x\n", others={"a.md": CRITIC}).document.replace(old, new).encode()
    with pytest.raises(ProgramError):
        Program.parse(broken)
    assert [m.level for m in check(broken, "up.md")] == ["error"] and program_id(broken) == ""


@pytest.mark.parametrize(
    "files",
    [
        {"program.md": "See /etc/x.md.\n", "/etc/x.md": "x\n"},
        {"program.md": "See a.md.\n", "../a.md": "x\n"},
        {"notes.txt": "x\n"},
        {"program.md": " ".join(MANY)} | dict.fromkeys(MANY, "x" * 30000),
    ],
)
def test_hostile_archives_are_refused(files: dict[str, str]) -> None:
    for raw in (zipped(files), zipped(files)[:-30], b"PK\x03\x04 nothing"):
        with pytest.raises(MetaloopError):
            from_zip(raw, "up")


def test_a_child_keeps_the_files_that_its_entry_file_leads_to() -> None:
    program = Program.parse("See a.md.\n\nSee b.md.\n", others={"a.md": "See c.md.\n", "b.md": "B.\n", "c.md": "C.\n"})
    assert program.with_text("Now see a.md.\n").files[1:] == (program.files[1], program.files[3])
    assert not program.with_text("Nothing.\n").is_set
    grown = program.with_files({"b.md": "See d.md.\n", "d.md": "D.\n", "far.md": "Far.\n"})
    assert [path for path, _ in grown.files] == ["program.md", "a.md", "b.md", "c.md", "d.md"]
    by_name = {d.text: d.directive_id for d in program.directives}
    shorter = without(program, by_name["See b.md."])
    assert [path for path, _ in shorter.files] == ["program.md", "a.md", "c.md"]


def test_statement_of_another_file_is_removed_and_compared() -> None:
    program = Program.parse("See roles/critic.md.\n", others=ROLE)
    gone = next(d for d in program.directives if d.text == "Ask for a repeat.")
    change = diff(program, without(program, gone.directive_id))
    assert change.removed == (gone,) and not change.added and not change.changed
    assert gone.heading == "roles/critic.md › Process"


def test_names_of_files_are_read_in_linear_time() -> None:
    for text in ("[" * 50_000, "](" * 50_000, "a/" * 50_000, "../" * 50_000, "a.md-" * 50_000, "x.md " * 10_000):
        assert len([*named_files([text], 0, "")]) <= 10_000
