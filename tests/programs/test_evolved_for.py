"""The label of a champion's file: it survives copying, and neither ids nor texts know of it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from programs.evolved_for import EvolvedFor, with_label
from programs.folder import from_zip, load
from programs.program import Program, program_id
from programs.shelf import starter

CHAT = EvolvedFor.of("chat", ["openai/m-1", "gpt-4o-mini"])
TEXTS = (b"Go.\n", b"Go.", b"# A\r\n\r\nGo.\r\n", starter("idea-queue").raw, b"Go.\n\n```\nunclosed\n")


@pytest.mark.parametrize("raw", TEXTS)
def test_a_labelled_file_is_the_same_program(raw: bytes) -> None:
    labelled = with_label(raw, CHAT)
    program = Program.parse(labelled)
    assert program.raw == raw and program == Program.parse(raw) and program.evolved_for == CHAT
    assert program_id(labelled) == program_id(raw) == program.program_id
    assert program.labelled.raw == labelled


def test_label_of_another_form_is_text_and_none_ends_the_comment() -> None:
    for raw in (b"Go: <!-- metaloop: evolved for chat -->\n", b"<!-- metaloop: evolved for a b -->\nGo.\n"):
        assert Program.parse(raw).raw == raw and Program.parse(raw).evolved_for is None
    raw = with_label(b"Go.\n", EvolvedFor.of("command:x y", ["a --> b", "<c>"]))
    assert Program.parse(raw).raw == b"Go.\n" and raw.count(b"-->") == 1
    more = Program.parse(with_label(b"Go.\n", CHAT) + b"\nStop at noon.\n")
    assert more.evolved_for == CHAT and "evolved" not in more.text and [d.line for d in more.directives] == [1, 5]


def test_a_folder_its_document_and_an_archive_keep_it(tmp_path: Path) -> None:
    (tmp_path / "roles").mkdir()
    (tmp_path / "roles/critic.md").write_text("Doubt it.\n")
    (tmp_path / "program.md").write_bytes(with_label(b"Read `roles/critic.md`.\n", CHAT))
    program = load(tmp_path)
    assert program.is_set and program.evolved_for == CHAT
    sent = Program.parse(program.labelled.document)
    assert sent.files == program.files and sent.evolved_for == CHAT and sent.program_id == program.program_id
    assert "evolved" not in program.document
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr("program.md", with_label(b"Go.\n", CHAT))
    assert from_zip((tmp_path / "p.zip").read_bytes(), "p.zip")[0].evolved_for == CHAT


def test_label_for_another_researcher_is_remarked() -> None:
    script, agent = EvolvedFor.of("scripted", ["writes-programs"]), EvolvedFor.of("command:claude", ["opus"])
    assert script.remark("c", script) == CHAT.remark("c", EvolvedFor.of("chat", ["gpt-4o-mini"])) == ""
    remark = script.remark("c", agent)
    assert "the scripted researcher, not for the agent claude with opus" in remark and "--for agent" in remark
    assert "--for scripted" in CHAT.remark("c", script)
    assert "has not been measured" in CHAT.remark("c", EvolvedFor.of("chat", ["other"]))
    again = script.rewritten_for("chat")
    assert "--for" not in again.remark("c", CHAT) and "--for agent" in again.remark("c", agent)
