"""The pictures of the README, of a real study, as SVG: its champion tinted by credit beside the standings, and what
the command prints at a terminal of 96 columns.

python -m bench.pictures STUDY [FOLDER]      default docs/pictures
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path("docs/pictures")
COLUMNS = 96
SCREENS = {
    "lineage": ("lineage",),
    "credit": ("credit", "--method", "edit"),
}
MOST_LINES = 28


def at_a_terminal(*arguments: str) -> str:
    """What ``metaloop`` prints on a pseudo-terminal, escape codes included."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": str(COLUMNS), "LINES": "60", "TERM": "xterm-256color"}
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
    from rich.console import Console

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


def main() -> None:
    from bench.champion_picture import champion_picture

    study = sys.argv[1]
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, (verb, *rest) in SCREENS.items():
        text = at_a_terminal(verb, study, *rest)
        print(draw(folder, name, f"metaloop {verb} {Path(study).name}", text))
    print(champion_picture(Path(study), folder / "champion.svg"))


if __name__ == "__main__":
    main()
