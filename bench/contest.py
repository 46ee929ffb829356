"""A contest of 20 entries on strokes, end to end: founded, served, entered by API and by command, run, closed,
exported and read, all with the defaults of `contest init`. Prints the wall time of each stage and the announcement.

python bench/contest.py [FOLDER [ENTRIES]]

FOLDER is new, or one that this command began: a stage that is done is not done again, its time is not known then.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.common import METALOOP, figure
from programs import shelf
from programs.program import Program

ENTRIES, EACH = 20, 3  # EACH: entries of a person, the default of `contest init`
LOOK_SECONDS = 2.0


def main() -> None:
    folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp()).resolve()
    entries = int(sys.argv[2]) if sys.argv[2:] else ENTRIES
    folder.mkdir(parents=True, exist_ok=True)
    began, watch = time.perf_counter(), Watch()
    with watch("init"):
        made = create_contest(folder)
    with serving(folder) as url:
        with watch("enter"):
            enter(folder, url, made["join_code"], programs(entries))
        with watch("queue"):
            wait(url, entries + 2)
        with watch("close"):
            closed = metaloop(folder, "contest", "close", "contest", "--early", "a measurement", "-y")
    with watch("verify"):
        verified = metaloop(folder, "verify", "contest")
    with watch("export"):
        if not (folder / "exported").exists():
            metaloop(folder, "export", "contest", "-o", "exported")
    with watch("read"):
        rows = read(folder)
    whole = time.perf_counter() - began
    figure("contest_minutes", round(whole / 60, 1), "<= 30")
    figure("load_average", " ".join(f"{load:.1f}" for load in os.getloadavg()), "about the number of cores")
    show(folder, closed, verified, rows)


class Watch:
    """Times the stages by the clock on the wall."""

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        figure(f"{stage}_seconds", round(time.perf_counter() - began, 1))


def metaloop(folder: Path, *words: str, **surroundings: str) -> Any:
    """One command with --json in the folder: its answer. Exits where it fails."""
    done = subprocess.run([METALOOP, *words, "--json"], cwd=folder, env={**os.environ, **surroundings},
                          stdout=subprocess.PIPE, text=True, check=False)  # fmt: skip
    if done.returncode:
        sys.exit(f"metaloop {' '.join(words)}: exit status {done.returncode}")
    return json.loads(done.stdout)


def create_contest(folder: Path) -> dict[str, Any]:
    """The contest, with every default of `contest init`; its tokens are kept beside it for a second start."""
    kept = folder / "made.json"
    if not kept.exists():
        kept.write_text(json.dumps(metaloop(folder, "contest", "init", "contest")))
    made: dict[str, Any] = json.loads(kept.read_text())
    return made


@contextmanager
def serving(
    folder: Path, metaloop: Sequence[str] = (METALOOP,), environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """`contest serve` of ``folder``/contest as its own process, ended as Ctrl-C would."""
    command = [*metaloop, "contest", "serve", "contest", "--port", "0", "--json"]
    with open(folder / "serve.log", "ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["url"].rstrip("/")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=120)
        process.stdout.close()


def programs(count: int) -> list[Program]:
    """The starters, then starters of which one field of the charter is another; the same ones at every start."""
    import numpy as np

    from meta.mutators.offline.change_field import carry_out, moves

    rng, starters = np.random.default_rng(1), shelf.starters()
    by_id = {program.program_id: program for program in starters}
    while len(by_id) < count:
        parent = starters[int(rng.integers(len(starters)))]
        choices = moves(parent.charter)
        move = choices[int(rng.integers(len(choices)))]
        child = Program.parse(carry_out(parent.text, move), f"{parent.name}, {' '.join(move)}")
        by_id.setdefault(child.program_id, child)
    return list(by_id.values())[:count]


def enter(folder: Path, url: str, code: str, entries: Sequence[Program]) -> None:
    """Each person enters up to EACH programs, by turns over the API and with the command."""
    for first in range(0, len(entries), EACH):
        name, kept = f"P{first // EACH + 1}", folder / f"token-{first // EACH + 1}"
        if not kept.exists():
            kept.write_text(ask(f"{url}/api/v1/join", json.dumps({"name": name, "code": code}).encode())["token"])
        token = kept.read_text()
        for position, program in enumerate(entries[first : first + EACH]):
            if position % 2:
                path = folder / f"{first + position + 1:02}.md"
                path.write_bytes(program.raw)
                metaloop(folder, "contest", "submit", path.name, "--to", url, METALOOP_TOKEN=token)
            else:
                ask(f"{url}/api/v1/entries", program.raw, token)


def ask(url: str, body: bytes | None = None, token: str = "") -> dict[str, Any]:
    request = urllib.request.Request(url, data=body)
    request.add_header("Content-Type", "application/json" if not token else "text/markdown")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        reply: dict[str, Any] = json.loads(answer.read())
    return reply


def wait(url: str, entries: int) -> None:
    """Until every entry is verified or has failed."""
    while True:
        states = ask(f"{url}/api/v1/contest")["states"]
        done = sum(count for state, count in states.items() if state in ("verified", "failed", "void"))
        if done >= entries:
            print(f"states: {states}", flush=True)
            return
        time.sleep(LOOK_SECONDS)


def read(folder: Path) -> list[dict[str, Any]]:
    """The report, a query and the standings, of the folder and of what was exported; both say the same."""
    query = "SELECT label, count(*) AS n, round(sum(device_seconds_charged)) AS device FROM runs JOIN matches " \
            "USING (match_id) GROUP BY ALL ORDER BY label"  # fmt: skip
    answers = {}
    for name in ("contest", "exported"):
        answers[name] = metaloop(folder, "sql", name, query)
        answers[f"{name} standings"] = metaloop(folder, "standings", name)
        metaloop(folder, "report", name, "-o", f"{name}.html")
    if answers["contest"] != answers["exported"]:
        sys.exit(f"the export says {answers['exported']}, the contest {answers['contest']}")
    rows: list[dict[str, Any]] = answers["contest"]
    return rows


def show(folder: Path, closed: dict[str, Any], verified: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    for row in rows:
        print(f"{row['label']}: {row['n']} runs, {row['device']} device-seconds")
    print(f"verify: {verified}"[:400])
    print(closed["headline"])
    for row in closed["rows"]:
        who = row["name"] if row["role"] == "program" else row["role"]
        print(f"  {row['rank_low']}-{row['rank_high']}  {who[:40]:40} {row['gain']:.3f} [{row['low']:.3f}, "
              f"{row['high']:.3f}]  claimed {row['claimed']:.3f}  {row['n']} runs  {row['trust']}")  # fmt: skip


if __name__ == "__main__":
    main()
