"""Compares the files of a decided contest's export with its ledger, for `metaloop verify`.

The chains of the ledger have been checked before (`verify_study.intact`). A database is made again from the ledger,
with what only the export has (`BESIDE`), and its export is compared with this one.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from sqlalchemy.exc import SQLAlchemyError

from analysis.ledger import read, recorded_heads, records_after, unended
from analysis.ledger.events import LEDGER_KEYS
from analysis.study import read_study
from arena.contest.contest import Contest
from arena.contest.export import index, text_file, write_pages
from arena.contest.ranking.decision import figures, taking_part
from arena.contest.ranking.views import SIGNED
from arena.contest.running.arms import BOARD, CONFIRMATION
from arena.contest.settings import MARK, RULES, ContestConfig
from arena.contest.stored import Announcement
from arena.contest.tables import Act, ContestDatabase, ContestEntry, Person, person_mark
from arena.measuring import run_gain
from arena.serving.clock import iso
from arena.serving.names import FORMER
from arena.study.private_files import ANNOUNCED
from arena.study.task_study import tasks_of
from inner_loop.behaviour import behaviour_id
from programs.common.bounded import json_value
from programs.common.errors import Corrupt
from programs.common.files import read_regular
from programs.common.ids import content_id
from programs.common.text import one_line
from programs.program import Program

if TYPE_CHECKING:
    from arena.study.study import Study

#: What does not follow from the ledger: it is not compared, or taken from the export.
BESIDE = ("as_of", "device_seconds", "now", "pace_measured", "people", "reached", "report", "run_seconds")
NOT_COMPARED = [
    "announcement.json: the choice of the leaders",
    "board.json: as_of, reached",
    "contest.json: closes (if early), now, pace_measured, people, report, run_seconds",
    "entries.json: changed_at, reason, which entries failed, names of removed accounts",
    "study.toml, contest.toml: comments, models and spending limits",
]
TOLERANCE = 1e-9  # relative: libraries of other versions sum in another order
HINT = "ask the host; an export of another version of metaloop may have other words"


class CheckedExport(TypedDict):
    """How many values and files were compared; the heads of the ledger, the latest last; what was not compared."""

    figures: int
    files: int
    ledger_heads: list[str]
    not_covered: list[str]


def check_export(study: Study) -> CheckedExport:
    """Raises Corrupt, naming the file, at the first one that is not what the ledger gives."""
    try:
        with tempfile.TemporaryDirectory(prefix="metaloop-export-") as scratch:
            return _check(study, Path(scratch))
    except (AttributeError, LookupError, OSError, RecursionError, SQLAlchemyError, TypeError, ValueError) as error:
        what = one_line(f"{type(error).__name__}: {error}", 200)
        raise Corrupt(f"{study.folder}: a file or record of this export is incomplete ({what})", hint=HINT) from error


def _check(study: Study, scratch: Path) -> CheckedExport:
    folder, copy = study.folder, scratch / "export"
    config = ContestConfig.read(folder)  # also compares rules.md with its hash
    record = _announcement(study)
    _check_ledger(study, record)
    heads, head = recorded_heads(folder / "ledger"), _load(folder / "contest.json")["ledger_head"]
    if (head["segment"], head["hash"]) not in {(name, sha256) for name, _, sha256 in heads}:
        raise Corrupt("contest.json: the ledger lacks its ledger_head", hint=HINT)
    count = _check_settings(study, config)
    contest = _contest_of(study, config, record, scratch)
    count += _check_figures(study, contest)  # before pages are written, whose sentences rest on its figures
    write_pages(contest, copy)
    (copy / "README.md").write_text(index(config.title, folder), encoding="utf-8")
    count += _check_files(folder, copy)
    compared = {path.name for path in copy.iterdir()} | {MARK, RULES, "study.toml", "ledger"}
    others = [f"ledger/{path.name}" for path in sorted((folder / "ledger").iterdir()) if path.suffix != ".jsonl"]
    marks = {
        record["ledger_head"]["segment"]: " (in the announcement)",
        head["segment"]: " (on the board when this was exported)",
    }
    return {
        "figures": count,
        "files": len(compared),
        "ledger_heads": [f"{at} {name} {sha256}{marks.get(name, '')}" for name, at, sha256 in heads],
        "not_covered": [*sorted({path.name for path in folder.iterdir()} - compared), *others, *NOT_COMPARED],
    }


def _announcement(study: Study) -> Mapping[str, Any]:
    records = [record for record in read(study.folder / "ledger") if record["kind"] == "announcement"]
    if len(records) != 1:
        raise Corrupt(f"{study.folder / 'ledger'}: it has {len(records)} announcements instead of one", hint=HINT)
    return records[0]


def _check_ledger(study: Study, announcement: Mapping[str, Any]) -> None:
    """Nothing was added that could change the decision, and the entries are those announced."""
    ledger, head = study.folder / "ledger", announcement["ledger_head"]
    for problem in unended(ledger):
        raise Corrupt(problem, hint="ask the host to run `metaloop contest serve` once, and to export again")
    if (head["segment"], head["hash"]) not in {(name, sha256) for name, _, sha256 in recorded_heads(ledger)}:
        raise Corrupt(f"{ledger}: it lacks the head {head['hash']} that its announcement names", hint=HINT)
    match_id = content_id("m", study.config.study_id, CONFIRMATION)
    decisive = {arm.arm_id for arm in study.state.matches[match_id].arms}
    for path, record in records_after(ledger, head["segment"]):
        body: Mapping[str, Any] = record
        late_act = body["kind"] == "act" and decisive & {*body["arm_ids"]}
        if late_act or body["kind"] not in ("segment", "announcement", "act"):
            raise Corrupt(f"{path}:{body['seq'] + 1}: this record ({body['kind']}) came after the decision", hint=HINT)
    signed = {row["entry_id"]: row for row in announcement["entries"]}
    for event in study.state.entries.values():
        row = signed[event.entry_id]
        known = {key: getattr(event, key) for key in ("number", "role", "program_id", "sha256", "entrant")}
        known["received_at"] = iso(datetime.fromisoformat(event.received_at))
        compare(f"{ledger}: the announcement of entry {event.number}", {key: row[key] for key in known}, known)


def _check_settings(study: Study, config: ContestConfig) -> int:
    opened = next(record for record in read(study.folder / "ledger") if record["kind"] == "contest")
    recorded = {key: value for key, value in opened.items() if key not in {*LEDGER_KEYS, "at"}}
    count = compare(MARK, config.model_dump(mode="json", by_alias=True, exclude={"schema_"}), recorded)
    assert study.state.study is not None
    begun, now = dict(study.state.study.config), json.loads(json.dumps(study.public_config(), default=str))
    for settings in (begun, now):
        settings.pop("llm", None)  # of which the host may change the spending limits
    return count + compare("study.toml", now, begun)


def _contest_of(study: Study, config: ContestConfig, announcement: Mapping[str, Any], folder: Path) -> Contest:
    """The contest as the ledger has it, with a new database in ``folder``."""
    contest = Contest(study.folder, config, study.config, ContestDatabase(folder))
    contest.database.create()
    about = _load(study.folder / "contest.json")
    with contest.database.write() as connection:
        connection.add_all(_rows_of(study, config, announcement))
        state = {"early": announcement["closed_early"], "close_asked": about["closes"], "decided": True}
        facts = {"state": state, "ledger_head": about["ledger_head"]}
        facts["announcement"] = {key: announcement[key] for key in Announcement.__annotations__ if key in announcement}
        for name, value in facts.items():
            contest.database.put(connection, name, **value)
    return contest


def _rows_of(study: Study, config: ContestConfig, announcement: Mapping[str, Any]) -> Iterator[object]:
    """The rows of the database: people, entries and acts."""
    listed = {row["number"]: row for row in _load(study.folder / "entries.json")}
    people: dict[str, Person] = {}
    void = _void_arms(study)
    on = tasks_of(study)[0]
    for signed in announcement["entries"]:
        entry = listed.get(signed["number"])
        if entry is None:
            raise Corrupt(f"entries.json lacks the entry {signed['number']}", hint=HINT)
        mark, name, salt = str(signed["entrant"]), str(entry["entrant"]), str(entry["salt"])
        is_removed = not salt and name.startswith(f"{FORMER} ")
        if signed["role"] == "program" and not is_removed and person_mark(salt, name) != mark:
            raise Corrupt(f"entries.json: its ledger has another entrant of entry {signed['number']}", hint=HINT)
        received_at = datetime.fromisoformat(signed["received_at"])
        if signed["role"] == "program" and mark not in people:
            people[mark] = Person.joining(name, name, salt)
        program = _text(study.folder, signed, name)
        arm = content_id("a", content_id("m", study.config.study_id, BOARD), signed["entry_id"])
        gains = [run_gain(on, content_id("r", arm, str(number))) for number in range(config.runs)]
        done = sum(gain is not None for gain in gains)
        other = entry["state"] if entry["state"] not in ("void", "verified") else "failed"
        yield ContestEntry(
            **{key: signed[key] for key in SIGNED if key not in ("entrant", "received_at")},
            person=people.get(mark),
            behaviour=behaviour_id(program, study.task, study.config.researcher),
            raw=program.document.encode(),
            lint=[],
            received_at=received_at,
            changed_at=datetime.fromisoformat(entry["changed_at"]),
            failure=entry["reason"],
            state="verified" if done >= config.runs else other,
            void=entry["reason"] if arm in void else "",
        )
    yield from _acts_of(study)


def _acts_of(study: Study) -> list[Act]:
    """The host's acts; one that is recorded twice, after a kill, counts once."""
    columns = ("act_id", "number", "what", "because", "phase")
    records = [record for record in read(study.folder / "ledger") if "act_id" in record]
    acts = [
        Act(**{key: record[key] for key in columns}, at=datetime.fromisoformat(str(record["at"]))) for record in records
    ]
    return list({act.act_id: act for act in acts}.values())


def _text(folder: Path, signed: Mapping[str, Any], entrant: str) -> Program:
    """An entry's program, as it was submitted."""
    file = f"entries/{text_file(signed['number'], entrant)}"
    raw = read_regular(folder / file)
    program = Program.parse(raw, signed["name"], file="program.md")
    compare(file, [hashlib.sha256(raw).hexdigest(), program.program_id], [signed["sha256"], signed["program_id"]])
    return program


def _void_arms(study: Study) -> set[str]:
    with read_study(study.folder, views=[]) as con:
        return {arm for (arm,) in con.execute("FROM void_arms()").fetchall()}


def _check_figures(study: Study, contest: Contest) -> int:
    """Compute every figure of the announcement again from the confirming runs of the leaders that the ledger names."""
    announced = _load(study.folder / ANNOUNCED)
    match_id = content_id("m", study.config.study_id, CONFIRMATION)
    by_arm = {content_id("a", match_id, event.entry_id): event.number for event in study.state.entries.values()}
    arms = [arm.arm_id for arm in study.state.matches[match_id].arms]
    raced, void = taking_part(contest, [by_arm[arm] for arm in arms]), _void_arms(study)
    for entry in raced:
        entry.void = ""  # the host may have declared it void since
    expected = figures(contest.config, tasks_of(study)[0], raced, {by_arm[arm] for arm in arms if arm in void})
    return compare(ANNOUNCED, {key: announced.get(key) for key in expected}, expected, "state")


def _check_files(folder: Path, again: Path) -> int:
    """Compare the files in ``folder`` with those made again, of which none may be missing, and no text too many."""
    count = 0
    names = {path.relative_to(again) for path in again.rglob("*.*")} | {Path("card.svg")}
    for name in sorted(names | {path.relative_to(folder) for path in (folder / "entries").iterdir()}):
        if name.suffix == ".json":
            count += compare(str(name), _load(folder / name), _load(again / name))
            continue
        theirs, ours = (read_regular(path) if path.exists() else None for path in (folder / name, again / name))
        if theirs != ours:
            raise Corrupt(f"{name}: its words are not what the ledger gives", hint=HINT)
    return count


def _load(path: Path) -> Any:
    try:
        return json_value(read_regular(path), unique=True)
    except ValueError as error:
        raise Corrupt(f"{path.name}: {error}", hint=HINT) from None


def compare(name: str, found: Any, expected: Any, *beside: str) -> int:
    """How many values are the same, apart from the columns ``beside`` and `BESIDE`. Raises Corrupt at the first other
    one."""
    theirs, ours = (dict(_values(value, {*beside, *BESIDE})) for value in (found, expected))
    for key in sorted(ours.keys() | theirs.keys()):
        first, other = theirs.get(key), ours.get(key)
        near = isinstance(first, float) and isinstance(other, float) and math.isclose(first, other, rel_tol=TOLERANCE)
        if first != other and not near:
            raise Corrupt(f"{name} says {key} = {first!r}; its ledger gives {other!r}", hint=HINT)
    return len(ours)


def _values(value: Any, beside: set[str], name: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested tables and lists by their paths, as `rows.0.gain`, apart from the columns ``beside``."""
    if not isinstance(value, (dict, list, tuple)) or not value:
        yield name[1:], value
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if key not in beside:
            yield from _values(item, beside, f"{name}.{key}")
