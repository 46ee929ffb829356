"""Renders a page as a PNG with the Chromium or Chrome of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from programs.errors import EnvironmentProblem

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
LIMIT = 120  # seconds
PAGE = "<!doctype html><meta charset='utf-8'><body style='margin: 0'>{}"
SIZE = (1200, 630)  # pixels: the usual size of link previews


def browser() -> str | None:
    """The path of a browser that can render, None if there is none."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def draw(svg: str, target: Path, size: tuple[int, int] = SIZE) -> None:
    """Writes ``svg`` as a PNG of ``size`` pixels. Raises EnvironmentProblem if it cannot."""
    command = browser()
    if command is None:
        raise EnvironmentProblem(
            "the card needs Chromium or Chrome, which was not found", hint="apt-get install chromium"
        )
    with tempfile.TemporaryDirectory(prefix="metaloop-card-", ignore_cleanup_errors=True) as folder:
        page, picture = Path(folder) / "card.html", Path(folder) / "card.png"
        page.write_text(PAGE.format(svg), encoding="utf-8", errors="replace")
        arguments = [
            command,
            "--headless=new",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
            f"--user-data-dir={folder}/home",
            f"--window-size={size[0]},{size[1]}",
            f"--screenshot={picture}",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            page.as_uri(),
        ]
        try:
            done = subprocess.run(arguments, capture_output=True, timeout=LIMIT, check=False)
        except subprocess.TimeoutExpired:
            raise EnvironmentProblem(f"{command} wrote no picture within {LIMIT} s", hint="try again") from None
        if not picture.is_file():
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise EnvironmentProblem(f"{command} wrote no picture: {said[-1] if said else 'no reason given'}")
        save(picture.read_bytes(), target)


def save(data: bytes, target: Path) -> None:
    """Writes a file atomically and creates its folder. Raises EnvironmentProblem if it cannot."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        hint = "name a file that can be written"
        raise EnvironmentProblem(f"{target}: {error.strerror}", hint=hint) from error
