"""The pictures of README and docs, of a real study, as SVG: its champion tinted by credit beside the standings, what
`metaloop credit` prints at a terminal, its card, and the live display while the study ran, moment by moment.

python -m bench.pictures STUDY [FOLDER]      default docs/pictures

The pages of a contest on strokes (init -b 2.5s -n 3, eight starters as entries) are Chromium's, while it is served:
chromium --headless --hide-scrollbars --window-size=1080,980 --screenshot=docs/pictures/contest-board.png URL
chromium --headless --hide-scrollbars --window-size=1080,1240 --screenshot=docs/pictures/contest-entry.png URL/entry/ID
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

FOLDER = Path("docs/pictures")
COLUMNS = 96
MOST_LINES = 28
WIDTH, MOMENTS, SECONDS = 80, 9, 1.5  # of the recording: columns, moments, seconds that each is shown


def at_a_terminal(*arguments: str, columns: int = COLUMNS) -> str:
    """What ``metaloop`` prints on a pseudo-terminal, escape codes included."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "LINES": "60", "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "meta.cli.main", *arguments]  # the code at hand, installed or not
    process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other side is closed: that is a pty's end of file
            break
        if not part:
            break
        parts.append(part)
    process.wait()
    os.close(ours)
    return b"".join(parts).decode()


def draw(folder: Path, name: str, command: str, text: str) -> Path:
    from rich.ansi import AnsiDecoder

    lines = text.replace("\r", "").splitlines()
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], "..."]
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115 - until the process ends
    for line in AnsiDecoder().decode("\n".join(lines)):
        console.print(line, no_wrap=True)
    svg = console.export_svg(title=command, unique_id=name)
    path = folder / f"{name}.svg"
    # The template asks a server for its font; the reader's own monospace font does as well.
    path.write_text(re.sub(r"@font-face\s*{.*?}", "", svg, flags=re.S), encoding="utf-8")
    return path


def recording(study: Path, target: Path) -> Path:
    """The live display at MOMENTS equally distant moments of the study, from its ledger, one after the other; a reader
    who wants no motion sees the last."""
    from analysis.ledger import read
    from analysis.ledger.run_state import parsed
    from meta.cli.screen import screen
    from meta.ui.live import LiveStudy
    from meta.ui.status import StudyStatus

    live, events = LiveStudy(study), list(read(study / "ledger"))
    times = [datetime.fromisoformat(str(event["at"])) for event in events]
    ends = [event for event in events if event["kind"] == "champion"]
    last = times[events.index(ends[-1])] if ends else times[-1]
    moments = [times[0] + (last - times[0]) * (i + 1) / MOMENTS for i in range(MOMENTS)]
    frames: list[str] = []

    def status_so_far() -> StudyStatus:
        return StudyStatus(live, at_work=False, with_arms=True)

    for event, at in zip(events, times, strict=True):
        if at > last:
            break
        while len(frames) < MOMENTS and at > moments[len(frames)]:
            frames.append(_frame(screen(status_so_far(), "evolve --quick", width=WIDTH), len(frames)))
        live.tail.last_at = str(event["at"])
        if (typed := parsed(event, study)) is not None:
            live.take(typed)
    while len(frames) < MOMENTS:
        frames.append(_frame(screen(status_so_far(), "evolve --quick", width=WIDTH), len(frames)))
    if ends:
        verdict = at_a_terminal("standings", str(study), columns=WIDTH).replace("\r", "")
        frames.append(_frame(Text.from_ansi(verdict), len(frames)))
    sizes = [tuple(map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', frame)[0])) for frame in frames]
    wide, high = (max(size[axis] for size in sizes) for axis in (0, 1))
    whole = len(frames) * SECONDS
    style = (
        f".frame {{ visibility: hidden; animation: show {whole}s step-end infinite; }} "
        f"@keyframes show {{ 0% {{ visibility: visible; }} {100 / len(frames):.3f}% {{ visibility: hidden; }} }} "
        + " ".join(f".at{i} {{ animation-delay: {i * SECONDS}s; }}" for i in range(len(frames)))
        + f" @media (prefers-reduced-motion: reduce) {{ .frame {{ animation: none; }} .at{len(frames) - 1} "
        "{ visibility: visible; } }"
    )
    parts = [
        frame.replace('class="rich-terminal"', f'class="frame at{i}" width="{size[0]}" height="{size[1]}"', 1)
        for i, (frame, size) in enumerate(zip(frames, sizes, strict=True))
    ]
    label = "The live display of a study, from its beginning to its verdict"
    target.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" role="img" aria-label="{label}">'
        f"<style>{style}</style>{''.join(parts)}</svg>",
        encoding="utf-8",
    )
    return target


def _frame(shown: RenderableType, number: int) -> str:
    """One moment as an SVG of its own, without the font that the template asks a server for."""
    terminal = Console(record=True, width=WIDTH, file=open(os.devnull, "w"))  # noqa: SIM115 - until the process ends
    terminal.print(shown)
    svg = terminal.export_svg(title="metaloop evolve --quick", unique_id=f"moment{number}")
    return re.sub(r"@font-face\s*{.*?}", "", svg, flags=re.S)


def main() -> None:
    from analysis.report.card import card
    from analysis.study import open_study
    from bench.champion_picture import champion_picture

    study = sys.argv[1]
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    text = at_a_terminal("credit", study, "--method", "edit")
    print(draw(folder, "credit", f"metaloop credit {Path(study).name}", text))
    print(champion_picture(Path(study), folder / "champion.svg"))
    print(recording(Path(study), folder / "recording.svg"))
    with open_study(Path(study)) as con:
        (folder / "card.svg").write_text(card(con, study), encoding="utf-8")
    print(folder / "card.svg")


if __name__ == "__main__":
    main()
