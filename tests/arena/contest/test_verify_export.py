"""Edits of the export of a decided contest, in each of the ways that its readers could be deceived with."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from arena.contest.contest import Contest
from arena.contest.entering import acts, removal
from arena.contest.export import export
from arena.contest.running import arms
from tests.arena.contest.hosting import Browser, served
from tests.meta.cli_study import cli, metaloop


@pytest.fixture(scope="module")
def original(ended: Contest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "export"
    export(ended, folder)
    return folder


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


def refused(folder: Path) -> str:
    """What `verify` says of an export that it refuses, in one line."""
    ended = cli("verify", folder)
    assert ended.returncode != 0, ended.stdout
    return " ".join(ended.stderr.split())


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Change a JSON file: ``change`` works on its value, or returns another."""
    value = json.loads(path.read_text())
    new = change(value)
    path.write_text(json.dumps(value if new is None else new, ensure_ascii=False, indent=1) + "\n")


def replace(path: Path, *pairs: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def test_export_of_a_decided_contest_is_intact(ended: Contest, original: Path) -> None:
    found = metaloop("verify", original, "--json").json
    assert found["verdict"] == "intact" and found["figures"] > 300
    assert {name.partition(":")[0] for name in found["not_covered"]} == {
        "study.toml, contest.toml", "entries.json", "board.json", "contest.json", "announcement.json",
    }  # fmt: skip
    told = ended.announcement()["ledger_head"]
    assert f"{told['segment']} {told['hash']} (in the announcement)" in " ".join(found["ledger_heads"])
    shown = " ".join(ended.database.fact("ledger_head")[key] for key in ("segment", "hash"))
    assert f"{shown} (on the board when this was exported)" in found["ledger_heads"][-1]
    with served(ended) as port:
        for page in ("/", "/rules"):
            assert shown in Browser(port).get(page).text
        assert told["hash"] in Browser(port).get("/").text
    assert shown in metaloop("contest", "status", ended.folder).stdout
    printed = metaloop("verify", original)
    assert told["hash"] in printed.stdout + printed.stderr


def test_export_with_a_file_beside_the_ledger_names_it(copy: Path) -> None:
    (copy / "ledger" / "NOTE.txt").write_text("Bob won\n")
    assert "ledger/NOTE.txt" in metaloop("verify", copy, "--json").json["not_covered"]


def test_export_with_a_late_void_and_a_removed_account_is_intact(ended_copy: Contest, tmp_path: Path) -> None:
    contest = ended_copy
    acts.void(contest, "3", "copied from elsewhere")
    acts.write_down(contest)
    removal.forget(contest, "Ada")
    export(contest, tmp_path / "export")
    files = b"".join(path.read_bytes() for path in (tmp_path / "export").glob("*.*"))
    assert b"Ada" not in files and "former entrant 1" in (tmp_path / "export" / "announcement.md").read_text()
    found = metaloop("verify", tmp_path / "export", "--json").json
    assert (
        " ".join(contest.database.fact("ledger_head")[key] for key in ("segment", "hash")) in found["ledger_heads"][-1]
    )
    replace(tmp_path / "export" / "entries.json", ("former entrant 1", "former entrant 2"))
    assert "entries/00003-former-entrant-2.md" in refused(tmp_path / "export")


def renamed(names: dict[str, str]) -> Callable[[Path], None]:
    """An edit of the names of entrants everywhere outside the ledger."""

    def rename(text: str) -> str:
        return re.sub("|".join(names), lambda match: names[match[0]], text)

    def change(folder: Path) -> None:
        for path in (path for path in folder.iterdir() if path.suffix in (".json", ".md", ".svg")):
            path.write_text(rename(path.read_text()))
        texts = {rename(path.name): path.read_bytes() for path in (folder / "entries").iterdir()}
        shutil.rmtree(folder / "entries")
        (folder / "entries").mkdir()
        for name, raw in texts.items():
            (folder / "entries" / name).write_bytes(raw)

    return change


def other_rules(folder: Path) -> None:
    before = hashlib.sha256((folder / "rules.md").read_bytes()).hexdigest()
    (folder / "rules.md").write_text("# The host always wins\n")
    after = hashlib.sha256((folder / "rules.md").read_bytes()).hexdigest()
    for name in ("contest.toml", "contest.json"):
        replace(folder / name, (before, after))


def appended(name: str, raw: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with (folder / name).open("ab") as file:
            file.write(raw)

    return change


#: What is edited, and what the refusal says.
FOLDER_EDITS: dict[str, tuple[Callable[[Path], None], str]] = {
    "swapped names": (renamed({"Ada": "Bob", "Bob": "Ada"}), "another entrant of entry 3"),
    "other names": (renamed({"Ada": "Mallory", "Bob": "Trudy"}), "another entrant of entry 3"),
    "other text": (appended("entries/00003-Ada.md", b"\nAnother.\n"), "entries/00003-Ada.md says"),
    "more texts": (appended("entries/00099-Zoe.md", b"# Zoe\n"), "entries/00099-Zoe.md: its words are not"),
    "other rules": (other_rules, "contest.toml says rules_hash"),
    "one key twice": (
        lambda folder: replace(folder / "board.json", ("{", '{"rows": [], ')),
        "board.json: a key is there twice",
    ),
    "plan": (lambda folder: replace(folder / "study.toml", ("confirm = 3", "confirm = 4")), "says plan.confirm"),
    **{
        name: (appended(name, b"The host is honest.\n"), "its words are not what the ledger gives")
        for name in ("announcement.md", "card.svg", "README.md")
    },
}


@pytest.mark.parametrize("edited", FOLDER_EDITS)
def test_export_with_edited_files_is_refused(copy: Path, edited: str) -> None:
    change, message = FOLDER_EDITS[edited]
    change(copy)
    assert message in refused(copy)


JSON_EDITS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "closed_early": ("announcement.json", lambda told: told.update(closed_early="nobody came")),
    "since": ("announcement.json", lambda told: told.update(since=[{"number": 3, "because": "x"}])),
    "decided_at": ("announcement.json", lambda told: told.update(decided_at="2026-01-01T00:00:00+00:00")),
    "left_out": ("announcement.json", lambda told: told.update(left_out=told["not_racing"][:1])),
    "not_racing": ("announcement.json", lambda told: told.update(not_racing=[])),
    "secret": ("announcement.json", lambda told: told.update(secret_hash="0" * 64)),
    "headline": ("announcement.json", lambda told: told.update(headline="Bob won")),
    "gain": ("announcement.json", lambda told: told.update(gain=told["gain"] + 1e-6)),
    "head": ("announcement.json", lambda told: told["ledger_head"].update(hash="0" * 64)),
    "rows": ("board.json", lambda board: board["rows"].reverse()),
    "rank": ("board.json", lambda board: board["rows"][0].update(rank_low=2)),
    "void": ("board.json", lambda board: board["void"][0].update(reason="for no reason")),
    "said": ("board.json", lambda board: board["announcement"].update(headline="Bob won")),
    "copy": ("board.json", lambda board: [row.update(copy_of="") for row in board["rows"]] and None),
    "acts": ("acts.json", lambda rows: []),
    "because": ("acts.json", lambda rows: rows[0].update(because="for no reason")),
    "title": ("contest.json", lambda about: about.update(title="Another")),
    "closes": ("contest.json", lambda about: about.update(closed_early="")),
    "state": ("entries.json", lambda rows: rows[-1].update(state="verified")),
    "sha256": ("entries.json", lambda rows: rows[2].update(sha256="0" * 64)),
    "fewer": ("entries.json", lambda rows: rows[:-1]),
    "shape": ("entries.json", lambda rows: {"rows": rows}),
}


@pytest.mark.parametrize("edited", JSON_EDITS)
def test_export_with_an_edited_json_file_is_refused(copy: Path, edited: str) -> None:
    name, change = JSON_EDITS[edited]
    edit(copy / name, change)
    said = refused(copy)
    assert name in said or (edited == "shape" and "incomplete" in said)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"closes = .*", "closes = 2030-01-01T00:00:00Z"), (r'title = ".*"', 'title = "Another"'),
        (r"confirm_runs = \d+", "confirm_runs = 99"), (r"run_budget = .*", "run_budget = 1.0"),
        (r"(?m)^runs = \d+", "runs = 9"), (r"entries_per_person = \d+", "entries_per_person = 99"),
        (r"most_entries = \d+", "most_entries = 9"), (r'contact = ".*"', 'contact = "me"'),
    ],
)  # fmt: skip
def test_export_with_edited_settings_is_refused(copy: Path, old: str, new: str) -> None:
    text = (copy / "contest.toml").read_text()
    assert re.search(old, text)
    (copy / "contest.toml").write_text(re.sub(old, new, text, count=1))
    assert "contest.toml says" in refused(copy)


# -- the ledger ------------------------------------------------------------------------------------------------------


def records(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines():
        yield json.loads(line)


def signed(record: dict[str, Any], seq: int, prev: str) -> tuple[bytes, str]:
    """A record as a line of a chain, and its hash."""
    body = {key: value for key, value in record.items() if key not in ("seq", "prev", "hash")}
    at = body.pop("at")
    head = {"seq": seq, "at": at, "prev": prev, "schema": body.pop("schema")}
    raw = json.dumps({**head, **body}, ensure_ascii=False, separators=(",", ":"))[:-1].encode()
    return raw + b',"hash":"%b"}\n' % hashlib.sha256(raw).hexdigest().encode(), hashlib.sha256(raw).hexdigest()


def added(ledger: Path, name: str, *events: dict[str, Any]) -> dict[str, Any]:
    """A segment with its own chain of these events; its head."""
    about = {"at": "2031-01-01T00:00:00Z", "schema": next(records(ledger / "main-1.jsonl"))["schema"]}
    lines, prev = b"", ""
    heads = {"kind": "segment", "writer": name.partition("-")[0], "heads": {}}
    every = events if name.startswith("end") else (heads, *events)
    for seq, event in enumerate(every):
        line, prev = signed({**about, **event}, seq, prev)
        lines += line
    (ledger / name).write_bytes(lines)
    return {name: {"seq": len(every) - 1, "hash": prev}}


def void_of_the_best(ended: Contest) -> dict[str, Any]:
    best = ended.announcement()["best"]
    every = arms.BOARD, arms.SCREENING, arms.CONFIRMATION
    affected = acts.arms_of(ended, best["entry_id"], every)
    body = {key: best[key] for key in ("entry_id", "number", "entrant")}
    return {
        "kind": "act",
        "act_id": 99,
        "what": "void",
        **body,
        "because": "x",
        "phase": "deciding",
        "arm_ids": affected,
    }


def end_of(ledger: Path, head: dict[str, Any]) -> None:
    """A segment that ends the ledger after one with this head."""
    added(ledger, "end-99.jsonl", {"kind": "segment", "writer": "end", "heads": head})


Act = dict[str, Any]


def added_segment(ledger: Path, act: Act) -> str:
    added(ledger, "zz-1.jsonl", act)
    return "zz-1.jsonl"


def one_record(ledger: Path, act: Act) -> str:
    added(ledger, "end-0.jsonl", act)
    return "end-0.jsonl"


def one_record_renamed(ledger: Path, act: Act) -> str:
    one_record(ledger, act)
    (ledger / "end-0.jsonl").rename(ledger / "zz-1.jsonl")
    return "zz-1.jsonl"


def added_segment_and_end(ledger: Path, act: Act) -> str:
    end_of(ledger, added(ledger, "zz-1.jsonl", {**act, "phase": "decided"}))
    return "zz-1.jsonl:2"


def second_announcement(ledger: Path, _: Act) -> str:
    told = next(one for path in ledger.glob("main-*") for one in records(path) if one["kind"] == "announcement")
    end_of(ledger, added(ledger, "zz-1.jsonl", {**told, "headline": "Bob won", "at": "2031-01-01T00:00:00Z"}))
    return "2 announcements"


def appended_record(ledger: Path, act: Act) -> str:
    path = max(ledger.glob("main-*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    *_, last = records(path)
    record = {"at": "2031-01-01T00:00:00Z", "schema": last["schema"], **act, "phase": "decided"}
    with path.open("ab") as file:
        file.write(signed(record, last["seq"] + 1, last["hash"])[0])
    return path.name


MORE = (added_segment, one_record, one_record_renamed, added_segment_and_end, second_announcement, appended_record)


@pytest.mark.parametrize("more", MORE)
def test_export_with_more_in_its_ledger_is_refused(
    ended: Contest, copy: Path, more: Callable[[Path, Act], str]
) -> None:
    said = more(copy / "ledger", void_of_the_best(ended))
    assert said in refused(copy)


def rebuilt(folder: Path, change: Callable[[dict[str, Any]], object]) -> dict[str, str]:
    """Change records of a ledger and compute all its chains and heads again; old hash → new hash."""
    left = {path: list(records(path)) for path in sorted((folder / "ledger").glob("*.jsonl"))}
    hashes: dict[str, str] = {}
    chains: dict[Path, list[bytes]] = {path: [] for path in left}
    while any(left.values()):
        for path, rows in left.items():
            while rows:
                named = [head["hash"] for head in (rows[0].get("heads") or {}).values()]
                named += [rows[0]["ledger_head"]["hash"]] if "ledger_head" in rows[0] else []
                if any(sha256 not in hashes for sha256 in named):
                    break
                record = rows.pop(0)
                text = json.dumps(record)
                for sha256 in named:
                    text = text.replace(sha256, hashes[sha256])
                new = json.loads(text)
                change(new)
                line, hashes[record["hash"]] = signed(new, record["seq"], hashes.get(record["prev"], ""))
                chains[path].append(line)
    for path, lines in chains.items():
        path.write_bytes(b"".join(lines))
    return hashes


def published(folder: Path, hashes: dict[str, str]) -> None:
    """Name the new heads of the ledger in the other files."""
    for name in ("announcement.json", "announcement.md", "board.json", "contest.json"):
        replace(folder / name, *((old, new) for old, new in hashes.items() if old in (folder / name).read_text()))


def test_rebuilt_ledger_has_other_heads_than_were_published(ended: Contest, copy: Path) -> None:
    def forged(record: dict[str, Any]) -> None:
        if record["kind"] == "experiment":
            record["description"] = "forged"

    published(copy, rebuilt(copy, forged))
    found = metaloop("verify", copy, "--json").json  # nothing in the folder itself can show it
    heads = ended.announcement()["ledger_head"]["hash"], ended.database.fact("ledger_head")["hash"]
    assert not any(sha256 in line for sha256 in heads for line in found["ledger_heads"])
    assert len(found["ledger_heads"]) > 2


FORGED: dict[str, Callable[[Any], Any]] = {
    "gain": lambda told: told.update(gain=told["gain"] + 1e-6),
    "over_stock": lambda told: told.update(over_stock=told["over_stock"] + 1e-6),
    "rows.0.n": lambda told: told["rows"][0].update(n=told["rows"][0]["n"] + 1),
    "rows": lambda told: told["rows"].pop(),
    "winners": lambda told: told.update(winners=[] if told["winners"] else [told["best"]]),
    "race.looks": lambda told: told["race"]["looks"].append(99),
    "outcome": lambda told: told.update(outcome="empty"),
}


@pytest.mark.parametrize("forged", FORGED)
def test_rebuilt_ledger_with_a_forged_announcement_is_refused(copy: Path, forged: str) -> None:
    change = FORGED[forged]
    published(copy, rebuilt(copy, lambda record: record["kind"] == "announcement" and change(record)))
    edit(copy / "announcement.json", lambda told: change(told) and None)
    assert f"announcement.json says {forged}" in refused(copy)
