"""A copy of a study to give away: what was measured, without the secret of its seeds and without paths of this machine.

The ledger is written again, because records hold paths and each names the hash of the one before; programs keep their
text, on which their ids depend. The copy can be read by every verb that reads, and not resumed; `metaloop verify`
checks its ledger.
"""

from __future__ import annotations

import json
import re
import shlex
import socket
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import tomli_w

from analysis.ledger import END, RESERVED, Ledger, check, read
from arena.settings import StudyConfig
from arena.study import Study
from arena.task_study import tasks_of
from meta.cli.resolve import one_program
from programs.errors import Corrupt, UsageError
from programs.files import copy_regular, is_regular, read_regular
from programs.program import Program

if TYPE_CHECKING:
    from pydantic import JsonValue

CHAMPION = "champion.md"
TEXTS = (CHAMPION, "best_train.py")  # they stay as they were measured
EVIDENCE = "champion.evidence.md"
FOLDERS = ("programs.git", "champion", "best", "evidence")
_SYSTEM = "dev|proc|sys|usr|bin|sbin|lib|lib64|etc"
_PATH = re.compile(rf"(?<![\w.:/~\\])/(?!(?:{_SYSTEM})\b)[\w.@+-]+(?:/[\w.@+ -]*[\w.@+-])+")


class Cleaner:
    """Takes paths of this machine and its name out of texts; ``…/NAME`` remains of a path. The name stays if it is a
    word of the study as well, in an identifier or a key of its ``values``: then ``remark`` says so."""

    def __init__(self, values: Iterable[JsonValue] = ()) -> None:
        name, self.remark = socket.gethostname(), ""
        self.host: re.Pattern[str] | None = re.compile(rf"\b{re.escape(name)}\b")
        known = re.compile(rf'"[^"\s/]*{self.host.pattern}[^"\s/]*"')  # a key, or a text that is no sentence or path
        if len(name) <= 3 or any(known.search(json.dumps(value)) for value in values):
            self.host, self.remark = None, f"the name of this machine, {name}, stays: it is a word of the study as well"

    def text(self, text: str) -> str:
        if "/" in text:
            text = _PATH.sub(lambda path: f"…/{path[0].rpartition('/')[2]}", text)
        return self.host.sub("HOST", text) if self.host else text

    def value(self, value: JsonValue) -> JsonValue:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(each) for each in value]
        return {key: self.value(each) for key, each in value.items()} if isinstance(value, dict) else value

    def event(self, record: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """The event of a record. The text of a program stays, because its id is the hash of it."""
        keep = {"text", "directives"} if record["kind"] == "program" else set()
        return {key: each if key in keep else self.value(each) for key, each in record.items() if key not in RESERVED}


def share(source: Path, target: Path) -> list[str]:
    """Write the copy to the new folder ``target``; what a person should look at before giving it away.

    Raises Corrupt where the ledger is damaged, UsageError where a file holds the study's secret: the copy that it has
    begun may not be given away.
    """
    study = Study.open(source)
    study.look()
    refuse_other_champion(source)
    target.mkdir()
    clean = Cleaner(chain([study.config.model_dump(mode="json")], map(dict, read(source / "ledger"))))
    with Ledger(target / "ledger", "main") as ledger:
        ledger.extend(clean.event(record) for record in read(source / "ledger") if record["kind"] != "segment")
        ledger.finish()
    _write_config(study.config, target, clean)
    for name in (*TEXTS, EVIDENCE):
        if is_regular(source / name):
            text = read_regular(source / name).decode()
            (target / name).write_text(clean.text(text) if name == EVIDENCE else text, "utf-8")
    for name in FOLDERS:
        if (source / name).is_dir() and not (source / name).is_symlink():
            copy_regular(source / name, target / name)
    for page in (target / "evidence").glob("*.md"):
        page.write_text(clean.text(page.read_text("utf-8")), "utf-8")
    secrets = [secret for secret in (study.config.secret, study.config.held_secret) if secret]
    for path in target.rglob("*"):
        if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets):
            raise UsageError(f"{path.relative_to(target)} holds the study's secret", hint="remove it from the study")
    return [*remarks(study), *filter(None, [clean.remark])]


def verified(copy: Path) -> dict[str, str | int]:
    """What can be checked of a copy: that nothing is missing from its ledger, that the programs are those that their
    ids name, and that champion.md is the champion. ``head``: the hash of the ledger's last record; only this hash shows
    that nothing was changed, since a ledger can be written again. Raises Corrupt with the first problem."""
    problems, records, programs, head = check(copy / "ledger"), 0, 0, ""
    if not list((copy / "ledger").glob(f"{END}-*.jsonl")):  # `share` always writes it
        problems.append(f"{copy / 'ledger'}: the segment that names the last record is missing")
    if problems:
        raise Corrupt(problems[0], hint="ask for the copy again")
    for record in read(copy / "ledger"):
        records, head = records + 1, str(record["hash"])
        if record["kind"] == "program":
            programs += 1
            text, named = str(record["text"]), str(record["program_id"])
            if Program.parse(text, str(record.get("name") or "")).program_id != named:
                raise Corrupt(f"{copy}: the text of the program {named} is not the one of its id", hint="ask again")
    refuse_other_champion(copy)
    return {"records": records, "programs": programs, "head": head}


def refuse_other_champion(folder: Path) -> None:
    """Raise Corrupt where champion.md is not the champion of the last decision, as where a person changed it."""
    written = folder / CHAMPION
    decided = [record["program_id"] for record in read(folder / "ledger") if record["kind"] == "champion"]
    if decided and written.is_file() and one_program(str(written)).program_id != decided[-1]:
        show = f"metaloop show --text {str(decided[-1])[:12]} -s {shlex.quote(str(folder))}"
        hint = f"{show} > NEW.md writes that one"
        raise Corrupt(f"{written} is not the champion of the ledger, {decided[-1]}", hint=hint)


def _write_config(config: StudyConfig, folder: Path, clean: Cleaner) -> None:
    values = config.model_dump(by_alias=True, exclude_none=True, mode="json")
    begun = {"programs": values.pop("programs"), "shared": True}
    del values["secret"]
    values.pop("held_secret", None)
    cleaned = clean.value(values)
    assert isinstance(cleaned, dict)
    (folder / "study.toml").write_text(tomli_w.dumps(cleaned | begun, multiline_strings=False), "utf-8")


def remarks(study: Study) -> Iterator[str]:
    """What was left as it is and may name something private."""
    for program in map(study.program, study.state.programs):
        path = _PATH.search(program.text)
        if path:
            yield f"the program {program.name} names {path[0]}: its text is what was measured, so it stays"
    script = study.folder / TEXTS[1]
    if is_regular(script) and (path := _PATH.search(read_regular(script).decode())):
        yield f"{script.name} names {path[0]}: it is the script that was measured, so it stays"
    for on in tasks_of(study):
        if not on.task.is_builtin:
            yield f"the files of the task {on.task.name} are not in the copy; whoever is to run it needs them as well"
