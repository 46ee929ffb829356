"""Imports logs into a new study folder, whole or not at all. Nothing is run, and no model is called."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.imports.cells import aliases
from analysis.imports.columns import Stated
from analysis.imports.repository import Joined, joined
from analysis.imports.rows import Row
from analysis.imports.runs import ImportedRun, runs_of
from analysis.imports.table import Aside, UnreadableLog, read_log
from analysis.ledger import SCHEMA, Ledger
from analysis.ledger.writing_events import DirectiveEntry
from programs.common.distribution import VERSION
from programs.common.errors import EnvironmentProblem, MetaloopError, NotFound, UsageError
from programs.common.files import read_regular
from programs.common.ids import content_id
from programs.common.safe_git import repository_above
from programs.program import Program

if TYPE_CHECKING:
    from pydantic import JsonValue

    Event = dict[str, JsonValue]

STATE, TRUST = "imported", "self-reported"
OWN = "study.toml"  # in a folder that Metaloop wrote, whose tables are no logs of a loop
_LOG = re.compile(r"(?:.*[-_.])?(?:results?|experiments?|runs?|log|history)(?:[-_.].*)?\.(?:tsv|csv|jsonl|md)", re.I)
_SKIPPED = frozenset({"node_modules", "venv", "__pycache__", "site-packages"})


def import_logs(paths: Sequence[Path], folder: Path, stated: Stated, repository: Path | None = None) -> None:
    """Imports the logs at ``paths`` (files, or folders to search) into a new study at ``folder``.

    ``repository``: of the logs' commits; else the one that a log lies in. A log that cannot be read, or that leaves a
    question open, is refused, with the reason in the view `imports`. Raises UsageError, NotFound or EnvironmentProblem
    if no log was imported, and then leaves no folder.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists", hint="name a new folder with --study")
    logs = list(dict.fromkeys(log for path in paths for log in _logs_in(path)))
    if not logs:
        shown = ", ".join(map(str, paths[:3]))
        raise NotFound(f"{shown}: no log of experiments found", hint="name the file: metaloop import results.tsv")
    stage = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(stage, ignore_errors=True)
        (stage / "ledger").mkdir(parents=True)
        _write(logs, stage, stated, repository)
        stage.rename(folder)
    except OSError as error:
        hint = "name another folder with --study"
        raise EnvironmentProblem(f"{folder}: {error.strerror or error}", hint=hint) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _logs_in(path: Path) -> Iterator[Path]:
    """The file itself, or the files below a folder with names of logs. It follows no links."""
    if not path.is_dir():
        yield path
    for root, folders, files in os.walk(path):
        is_study = OWN in files
        folders[:] = [] if is_study else sorted(n for n in folders if not n.startswith(".") and n not in _SKIPPED)
        for name in [] if is_study else sorted(files):
            if _LOG.fullmatch(name) and not (Path(root) / name).is_symlink():
                yield Path(root) / name


def _write(logs: Sequence[Path], stage: Path, stated: Stated, repository: Path | None) -> None:
    problems: list[tuple[Path, UnreadableLog]] = []
    config: Event = {"kind": "import", **asdict(stated)}
    study_id = content_id("y", *map(str, logs), datetime.now(UTC).isoformat())
    seen: set[str] = set()
    arms: dict[tuple[str, str], list[JsonValue]] = {}
    with Ledger(stage / "ledger", "import") as ledger:
        ledger.append({"kind": "study", "study_id": study_id, "version": VERSION, "config": config})
        for log in logs:
            try:
                ledger.extend(_log_events(log, stated, repository, seen, arms), sync=False)
            except UnreadableLog as problem:
                problems.append((log, problem))
                ledger.append(_import_event(log, "") | {"state": "refused", "reason": str(problem)})
        ledger.extend(_match_events(arms))
    if len(problems) == len(logs):
        log, first = problems[0]
        raise UsageError(f"{log}: {first}", hint=first.hint or "metaloop import reads results.tsv files")
    _write_config(stage / OWN, study_id, config)


def _import_event(log: Path, digest: str) -> Event:
    generic = log.stem.lower() in ("results", "result", "experiments", "log", "history")
    name = (generic and log.absolute().parent.name) or log.stem
    identity = content_id("i", digest or str(log))
    return {"kind": "import", "import_id": identity, "path": str(log), "name": name, "digest": digest or None}


def _match_events(arms: Mapping[tuple[str, str], list[JsonValue]]) -> Iterator[Event]:
    """A match of the runs with one metric and direction; nothing was played."""
    for (metric, way), own in arms.items():
        match: Event = {"match_id": _match_id(metric, way), "metric": metric, "direction": way}
        yield {"kind": "match", **match, "purpose": "import", "label": f"{metric}, {way} is better", "arms": own}
        yield {"kind": "match_ended", "match_id": match["match_id"], "state": STATE}


def _match_id(metric: str, way: str) -> str:
    return content_id("m", "import", metric, way)


def _log_events(
    log: Path, stated: Stated, repository: Path | None, seen: set[str], arms: dict[tuple[str, str], list[JsonValue]]
) -> Iterator[Event]:
    """All events of one log but those of its matches. Raises UnreadableLog before the first one."""
    text = read_log(log)
    runs = runs_of(text, stated)
    digest = hashlib.sha256(log.read_bytes()).hexdigest()
    if digest in seen:
        raise UnreadableLog("a copy of another log of this import")
    seen.add(digest)
    home = repository or repository_above(log.absolute().parent)
    program, problem = _program(log.absolute().parent, home)
    shared = _import_event(log, digest) | {"state": STATE, "repository": str(home) if home else None}
    shared |= {"program_id": program and program["program_id"], "program_problem": problem or None}
    if program:
        yield program
    for number, run in enumerate(runs):
        commits, note = _commits(run.rows, home, log.name)
        title = f"{shared['name']}: {run.name}" if run.name else shared["name"]
        event = shared | {"name": title, "repository_note": note or None, "commits_joined": len(commits)}
        run_id = content_id("r", str(event["import_id"]), run.name, run.metric, str(number))
        arm: Event = {"arm_id": content_id("a", run_id), "program_id": event["program_id"], "role": "program"}
        arms.setdefault((run.metric, run.direction), []).append(arm)
        yield from _run_events(event | {"quarantined": len(text.asides) if number == 0 else 0}, run, run_id, commits)
    yield from (_aside_event(shared, aside) for aside in text.asides)


def _commits(rows: Sequence[Row], repository: Path | None, log: str) -> tuple[dict[int, Joined], str]:
    """(line → commit, why there are none). Numbers alone count experiments."""
    if all((row.commit or "0").isdigit() for row in rows):
        return {}, f"the log has no column of commits, such as {', '.join(aliases()['columns']['commit'][:3])}"
    if repository is None:
        return {}, "no git repository where the log lies; --set repository=PATH names one"
    try:
        commits = joined(rows, repository, log)
    except UnreadableLog as error:
        return {}, str(error)
    return commits, "" if commits else "the repository has none of the log's commits"


def _run_events(event: Event, run: ImportedRun, run_id: str, commits: dict[int, Joined]) -> Iterator[Event]:
    about: Event = {"metric": run.metric, "direction": run.direction}
    run_event: Event = {"run_id": run_id, "arm_id": content_id("a", run_id), "program_id": event["program_id"]}
    run_event |= {"match_id": _match_id(run.metric, run.direction), "import_id": event["import_id"]}
    yield {"kind": "run_started", **run_event, **about}
    for row in run.rows:
        yield _row_event(content_id("e", run_id, str(row.number)), run_id, row, commits.get(row.line))
    best = run.rows[-1].best_so_far if run.rows else None
    gain = None if best is None or run.baseline is None else run.sign * (run.baseline - best)
    yield {"kind": "run_ended", "run_id": run_id, "state": STATE, "claimed_best": best, "claimed_gain": gain}
    sources: Event = {"metric_from": run.metric_from, "direction_from": run.direction_from, "notes": run.notes}
    yield {**event, "run_id": run_id, **about, **sources, **asdict(run.noise), "chance_gain": run.chance_gain}


def _row_event(identity: str, run_id: str, row: Row, commit: Joined | None) -> Event:
    event: Event = {"kind": "experiment", "run_id": run_id, "experiment_id": identity, "trust": TRUST}
    event |= {**vars(row), "measured": None, "same": None, "before": None, "repeats": None, **row.measured}
    event["again"] = row.repeats.line if row.repeats else None
    if commit is not None:
        event |= {"full_commit": commit.commit, "committed_at": commit.committed_at, "diff": commit.diff}
    return {key: value for key, value in event.items() if value is not None}


def _aside_event(shared: Event, aside: Aside) -> Event:
    return {"kind": "quarantine", "import_id": shared["import_id"], "path": shared["path"], **asdict(aside)}


def _program(folder: Path, repository: Path | None) -> tuple[Event | None, str]:
    """(the event of the program.md beside a log or at the top of its repository, why it is none)."""
    for path in dict.fromkeys([folder / "program.md", *([repository / "program.md"] if repository else [])]):
        if path.is_file() and not path.is_symlink():
            try:
                program = Program.parse(read_regular(path), path.stem, file=str(path))
            except (MetaloopError, OSError) as error:
                return None, str(error)
            directives = [asdict(entry) for entry in DirectiveEntry.all_of(program)]
            event: Event = {"kind": "program", "generation": None, "operator": "import", "parent_ids": []}
            event |= {"program_id": program.program_id, "name": folder.name, "words": program.words}
            return event | {"text": program.document, "directives": [*directives]}, ""
    return None, ""


def _write_config(path: Path, study_id: str, config: Event) -> None:
    import tomli_w

    body = {
        "schema": SCHEMA,
        "study_id": study_id,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "kind": "import",
        "versions": {"metaloop": VERSION},
        "stated": {key: value for key, value in config.items() if value is not None and key != "kind"},
    }
    path.write_text(tomli_w.dumps(body), encoding="utf-8")
