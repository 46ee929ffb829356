"""Compares the files of a decided contest's export with its ledger, for `metaloop verify`.

The chains of the ledger have been checked before (`verify_study.intact`). What follows from the ledger is made again
and compared with the files, all other files and columns are listed. The files are believed in one thing only: which
accounts have been removed since the announcement, whose entries then have other names than in the ledger.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict, cast

from analysis.ledger import read, recorded_heads, records_after, unended
from analysis.ledger.events import LEDGER_KEYS
from analysis.study import read_study
from analysis.wording import decimals, typical
from arena.contest.contest import with_names
from arena.contest.entering.removal import name_without
from arena.contest.entering.similarity import Behaving, copies_among, copy_sentence
from arena.contest.export import announcement_text, index, text_file
from arena.contest.listing import ListedEntry
from arena.contest.ranking.board import aa_difference, aa_spread, is_measured, rows_of
from arena.contest.ranking.decision import figures
from arena.contest.ranking.standing import trusted, void_gain
from arena.contest.ranking.views import PAGE, REST, SIGNED, settings_view
from arena.contest.running.arms import BOARD, CONFIRMATION
from arena.contest.settings import BOARD_FILE, MARK, RULES, ContestConfig
from arena.contest.stored import Announcement, MeasuredRow
from arena.contest.tables import ENDED
from arena.contest.web.card import card_of
from arena.measuring import run_gain
from arena.private import ANNOUNCED
from arena.serving.clock import iso
from arena.serving.names import FORMER
from arena.task_study import TaskStudy, tasks_of
from inner_loop.behaviour import behaviour_id
from programs.bounded import json_value
from programs.errors import Corrupt
from programs.files import read_regular
from programs.ids import content_id
from programs.program import Program
from trainer.cards.freshness import said

if TYPE_CHECKING:
    from arena.contest.entering.acts import ActRow
    from arena.study import Study

PRICES = ("device_seconds",)  # depend on what was measured on the machine
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
        return _Check(study).files()
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"
        raise Corrupt(f"{study.folder}: a file or record of this export is incomplete ({what})", hint=HINT) from error


@dataclass
class _Check:
    """The check of one export, and what it has compared."""

    study: Study
    figures: int = 0

    def __post_init__(self) -> None:
        self.folder = self.study.folder
        self.config = ContestConfig.read(self.folder)  # also compares rules.md with its hash
        self.on: TaskStudy = tasks_of(self.study)[0]
        self.covered = {RULES, MARK, "study.toml", "ledger"}
        self.not_covered: list[str] = []
        self.heads = recorded_heads(self.folder / "ledger")

    def files(self) -> CheckedExport:
        self.records_of_the_ledger()
        self.settings()
        self.value("entries.json", self.entry_rows)
        self.texts()
        self.value("acts.json", self.acts)
        self.value(ANNOUNCED, {**self.announcement, "closed_early": self.closed_early, "since": self.since})
        self.figures += recompute(self.study, self.entries, self.void_arms)
        self.value(BOARD_FILE, self.board())
        self.contest()
        title, task = self.config.title, self.study.task.name
        about = (title, self.closed_early, self.announcement, self.since)
        self.text("announcement.md", announcement_text(*about))
        self.text("card.svg", card_of(self.announcement, title, task, self.closed_early, self.since))
        self.text("README.md", index(title, self.folder))
        others = {path.name for path in self.folder.iterdir()} - self.covered
        return {
            "figures": self.figures,
            "files": len(self.covered),
            "ledger_heads": self.marked_heads(),
            "not_covered": [*sorted(others), *self.not_covered],
        }

    # -- what the ledger says ------------------------------------------------------------------------------------

    @cached_property
    def record(self) -> Mapping[str, Any]:
        """The record of the announcement. Raises Corrupt unless there is one."""
        found = [record for record in read(self.folder / "ledger") if record["kind"] == "announcement"]
        if len(found) != 1:
            raise Corrupt(f"{self.folder / 'ledger'}: it has {len(found)} announcements instead of one", hint=HINT)
        return found[0]

    @property
    def closed_early(self) -> str:
        return str(self.record["closed_early"])

    @cached_property
    def void_arms(self) -> set[str]:
        with read_study(self.folder, views=[]) as con:
            return {arm for (arm,) in con.execute("FROM void_arms()").fetchall()}

    @cached_property
    def entry_rows(self) -> list[dict[str, Any]]:
        """The rows of entries.json, as far as they follow from the announcement's record and the runs."""
        listed = {row["number"]: row for row in self.load("entries.json")}
        rows = []
        for signed in self.record["entries"]:
            found = listed.get(signed["number"]) or {}
            name, now, before = signed["name"], str(found.get("entrant")), signed["entrant"]
            if now.startswith(f"{FORMER} ") and now != before:
                signed = {**signed, "entrant": now, "name": name_without(name, signed["number"], before, now)}
            arm = content_id("a", content_id("m", self.study.config.study_id, BOARD), signed["entry_id"])
            runs = [content_id("r", arm, str(number)) for number in range(self.config.runs)]
            done = sum(run_gain(self.on, run) is not None for run in runs)
            ended = "void" if arm in self.void_arms else "verified" if done >= self.config.runs else ""
            other = found.get("state") if found.get("state") not in ("void", "verified") else "failed"
            rows.append({**{key: signed[key] for key in SIGNED}, "runs_done": done, "state": ended or other})
        pairs = {(row["entrant"], signed["entrant"]) for row, signed in zip(rows, self.record["entries"], strict=True)}
        if len({now for now, _ in pairs}) < len({before for _, before in pairs}):
            raise Corrupt("entries.json gives two entrants one name", hint=HINT)
        return rows

    @cached_property
    def entries(self) -> list[ListedEntry]:
        columns = ("entry_id", "number", "entrant", "name", "role", "program_id", "words", "state")
        researcher = self.study.config.researcher
        listed = []
        for row in self.entry_rows:
            program = Program.parse(self.entry_text(row), row["name"], file="program.md")
            behaviour = behaviour_id(program, self.study.task, researcher)
            listed.append(ListedEntry(**{column: row[column] for column in columns}, behaviour=behaviour))
        return listed

    @cached_property
    def acts(self) -> list[ActRow]:
        """The host's acts with the names of now; one that is recorded twice, after a kill, counts once."""
        names = {entry.number: entry.named for entry in self.entries}
        rows = {}
        for record in read(self.folder / "ledger"):
            if record["kind"] == "act" and "act_id" in record:
                fields = {key: record[key] for key in ("act_id", "what", "because", "phase")}
                at = iso(datetime.fromisoformat(str(record["at"])))
                rows[cast(int, record["act_id"])] = {**fields, **names[cast(int, record["number"])], "at": at}
        return cast("list[ActRow]", [rows[number] for number in sorted(rows)])

    @cached_property
    def announcement(self) -> Announcement:
        known = {key: self.record[key] for key in Announcement.__annotations__ if key in self.record}
        return with_names(cast(Announcement, known), {entry.number: entry.named for entry in self.entries})

    @property
    def since(self) -> list[ActRow]:
        """As `acts.since`."""
        last = {act["number"]: act for act in self.acts}
        programs = [row for row in self.announcement.get("rows", ()) if row["role"] == "program"]
        numbers = dict.fromkeys(row["number"] for row in (*self.announcement.get("winners", ()), *programs))
        return [last[number] for number in numbers if number in last and last[number]["what"] == "void"]

    # -- the files -----------------------------------------------------------------------------------------------

    def records_of_the_ledger(self) -> None:
        """Nothing was added to the ledger that could change the decision, and its entries are those announced."""
        ledger = self.folder / "ledger"
        for problem in unended(ledger):
            raise Corrupt(problem, hint="ask the host to run `metaloop contest serve` once, and to export again")
        head, hashes = self.record["ledger_head"], {name: sha256 for name, _, sha256 in self.heads}
        if hashes.get(head["segment"]) != head["hash"]:
            raise Corrupt(f"{ledger}: it lacks the head {head['hash']} that its announcement names", hint=HINT)
        match_id = content_id("m", self.study.config.study_id, CONFIRMATION)
        decisive = {arm.arm_id for arm in self.study.state.matches[match_id].arms}
        for path, record in records_after(ledger, head["segment"]):
            late_act = record["kind"] == "act" and decisive & {*cast("list[str]", record["arm_ids"])}
            if late_act or record["kind"] not in ("segment", "announcement", "act"):
                where = f"{path}:{cast(int, record['seq']) + 1}"
                raise Corrupt(f"{where}: this record ({record['kind']}) came after the decision", hint=HINT)
        signed = {row["entry_id"]: row for row in self.record["entries"]}
        for event in self.study.state.entries.values():
            row = signed[event.entry_id]
            known = {key: getattr(event, key) for key in ("number", "role", "program_id", "sha256")}
            known["received_at"] = iso(datetime.fromisoformat(event.received_at))
            if not str(row["entrant"]).startswith(f"{FORMER} "):
                known["entrant"] = event.entrant
            compare(f"{ledger}: the announcement of entry {event.number}", {key: row[key] for key in known}, known)

    def settings(self) -> None:
        contest = next(record for record in read(self.folder / "ledger") if record["kind"] == "contest")
        recorded = {key: value for key, value in contest.items() if key not in {*LEDGER_KEYS, "at"}}
        config = self.config.model_dump(mode="json", by_alias=True, exclude={"schema_"})
        self.figures += compare(MARK, config, recorded)
        assert self.study.state.study is not None
        begun, now = dict(self.study.state.study.config), self.study.public_config()
        for settings in (begun, now):
            settings.pop("staff", None)  # of which the host may change the spending limits
        self.figures += compare("study.toml", as_json(now), as_json(begun))
        self.not_covered.append("study.toml: models and spending limits")

    def entry_text(self, row: Mapping[str, Any]) -> bytes:
        name = f"entries/{text_file(row['number'], row['entrant'])}"
        raw = read_regular(self.folder / name)
        if hashlib.sha256(raw).hexdigest() != row["sha256"]:
            raise Corrupt(f"{name}: this is not the text that was submitted (SHA-256 {row['sha256']})", hint=HINT)
        return raw

    def texts(self) -> None:
        expected = {text_file(entry.number, entry.entrant) for entry in self.entries}
        if others := {path.name for path in (self.folder / "entries").iterdir()} ^ expected:
            raise Corrupt(f"entries/{min(others)}: the ledger has no such entry, or the file is missing", hint=HINT)
        for entry, row in zip(self.entries, self.entry_rows, strict=True):
            program = Program.parse(self.entry_text(row), entry.name, file="program.md")
            compare(f"entries/{text_file(entry.number, entry.entrant)}", program.program_id, entry.program_id)
        self.covered.add("entries")
        self.figures += len(expected)

    def board(self) -> dict[str, Any]:
        """The board at the close, as far as it follows from the ledger."""
        task, alike = self.study.task, copies_among(self.entries)
        rows = [row for row in rows_of(self.entries, self.study, BOARD) if is_measured(row)]
        rows.sort(key=lambda row: (-row["gain"], row["arm_id"]))
        listed = {row["number"]: row for row in self.load("entries.json")}  # which have been compared
        plain = {number: {key: row[key] for key in row if key != "parent"} for number, row in listed.items()}
        latest = sorted(self.entries, key=lambda entry: -entry.number)
        void = [entry for entry in latest if entry.state == "void"]
        measured = {row["number"] for row in rows}
        unmeasured = [entry.number for entry in latest if entry.number not in measured and entry.state != "void"]
        about = {"hardware_class": self.study.config.hardware_class}
        return {
            "unit": task.unit, "digits": decimals(typical(row["se"] for row in rows)), "aa_spread": aa_spread(rows),
            "aa_difference": aa_difference(rows, task.unit), "fresh": said([task]),
            "rows": [{**row, **about, **self.marks(row, alike.get(row["number"]))} for row in rows],
            "own": [], "pinned": [], "total": len(rows), "skip": 0, "most": PAGE, "wanted": self.config.runs,
            "unmeasured": [plain[number] for number in unmeasured[:REST]], "unmeasured_total": len(unmeasured),
            "unmeasured_skip": 0, "unmeasured_most": REST, "void_total": len(void),
            "void": [{**plain[entry.number], "as_it_was": void_gain(self.gains(entry))} for entry in void[:PAGE]],
            "announcement": self.announcement, "since": self.since,
        }  # fmt: skip

    def marks(self, row: MeasuredRow, earlier: Behaving | None) -> dict[str, object]:
        return {"verified": trusted(row["state"], row["trust"]), "copy_of": copy_sentence(earlier)}

    def marked_heads(self) -> list[str]:
        """The heads as lines; those of the announcement and of the board at the export are marked."""
        marks = {self.announcement["ledger_head"]["segment"]: " (in the announcement)"}
        marks[self.load("contest.json")["ledger_head"]["segment"]] = " (on the board when this was exported)"
        return [f"{at} {name} {sha256}{marks.get(name, '')}" for name, at, sha256 in self.heads]

    def gains(self, entry: ListedEntry) -> list[float]:
        arm = content_id("a", content_id("m", self.study.config.study_id, BOARD), entry.entry_id)
        runs = [run_gain(self.on, content_id("r", arm, str(number))) for number in range(self.config.runs)]
        return [gain for gain in runs if gain is not None]

    def contest(self) -> None:
        states = Counter(entry.state for entry in self.entries)
        head = self.load("contest.json")["ledger_head"]
        if (head["segment"], head["hash"]) not in {(name, sha256) for name, _, sha256 in self.heads}:
            raise Corrupt("contest.json: the ledger lacks its ledger_head", hint=HINT)
        expected = {
            **settings_view(self.config, self.study.config, self.study.task), "phase": "decided", "deciding": {},
            "closed_early": self.closed_early, "states": states, "close_asked": True, "ledger_head": head,
            "left": sum(count for state, count in states.items() if state not in ENDED),
            "stock": next(entry.entry_id for entry in self.entries if entry.role == "control"),
        }  # fmt: skip
        self.value("contest.json", expected if self.closed_early else {**expected, "closes": self.config.closes})

    # -- comparing -----------------------------------------------------------------------------------------------

    def load(self, name: str) -> Any:
        return json_value(read_regular(self.folder / name))

    def value(self, name: str, expected: Any) -> None:
        """Compare a JSON file; of its columns those that follow from the ledger, the others are listed."""
        found, expected = self.load(name), as_json(expected)
        rows = found if isinstance(found, list) else [found]
        known = {key for row in (expected if isinstance(expected, list) else [expected]) for key in row}
        others = sorted({key for row in rows for key in row} - known)
        kept = [{key: value for key, value in row.items() if key in known} for row in rows]
        self.figures += compare(name, kept if isinstance(found, list) else kept[0], expected)
        self.not_covered += [f"{name}: {', '.join(others)}"] * bool(others)
        self.covered.add(name)

    def text(self, name: str, expected: str | None) -> None:
        path = self.folder / name
        if (read_regular(path) if path.exists() else None) != (None if expected is None else expected.encode()):
            raise Corrupt(f"{name}: its words are not what the ledger gives", hint=HINT)
        self.covered.add(name)


def recompute(study: Study, entries: Iterable[ListedEntry], void: Collection[str]) -> int:
    """Compute every figure of an export's announcement from its ledger again, which also says who took part and who was
    left out (``void``: arms); how many were the same. Raises Corrupt at the first other one."""
    announced = json_value(read_regular(study.folder / ANNOUNCED))
    by_id = {entry.entry_id: entry for entry in entries}
    match_id = content_id("m", study.config.study_id, CONFIRMATION)
    by_arm = {content_id("a", match_id, event.entry_id): event for event in study.state.entries.values()}
    arms = [arm.arm_id for arm in study.state.matches[match_id].arms]
    raced = [replace(by_id[by_arm[arm].entry_id], state="") for arm in arms]
    gone = {by_arm[arm].number for arm in arms if arm in void}
    found = figures(ContestConfig.read(study.folder), tasks_of(study)[0], raced, gone)
    return compare(ANNOUNCED, {key: announced.get(key) for key in found}, found, (*PRICES, "state"))


def compare(name: str, found: Any, expected: Any, beside: Sequence[str] = PRICES) -> int:
    """How many values are the same, apart from the columns ``beside``. Raises Corrupt at the first other one."""
    theirs, ours = flat(found, beside), flat(expected, beside)
    for key in sorted(ours.keys() | theirs.keys()):
        first, other = theirs.get(key), ours.get(key)
        near = isinstance(first, float) and isinstance(other, float) and math.isclose(first, other, rel_tol=TOLERANCE)
        if first != other and not near:
            raise Corrupt(f"{name} says {key} = {first!r}; its ledger gives {other!r}", hint=HINT)
    return len(ours)


def flat(value: Any, beside: Sequence[str] = (), name: str = "") -> dict[str, Any]:
    """The values of nested tables and lists by their paths, as `rows.0.gain`, apart from the columns ``beside``."""
    if not isinstance(value, (dict, list, tuple)) or not value:
        return {name[1:]: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    parts = [flat(item, beside, f"{name}.{key}") for key, item in items if key not in beside]
    return {key: item for part in parts for key, item in part.items()}


def as_json(value: Any) -> Any:
    """The value as a JSON file has it."""
    return json.loads(
        json.dumps(value, default=lambda other: iso(other) if isinstance(other, datetime) else str(other))
    )
