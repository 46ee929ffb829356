"""Findings of axe-core over the pages of the window, of a report and of a contest, in Chromium.

npm pack axe-core && tar xzf axe-core-*.tgz && python -m bench.accessibility package/axe.min.js STUDY      a minute

STUDY: a finished one. Each page at 1280 pixels, light, and at 360, dark. The contest has one entry that has not run.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from arena.contest.entering import accounts
from arena.contest.entering.entries import accept
from bench.common import figure
from programs.shelf import starter
from tests.analysis.report.browser import Browser, found
from tests.arena.contest.hosting import founded, served
from tests.arena.contest.test_browser import go
from tests.meta.opened_window import TOKEN, Window, first, until_read

SIZES = ((1280, "light"), (360, "dark"))
CONTEST = ("", "queue", "rules", "join", "write", "host")
RUN = "axe.run().then((said) => JSON.stringify(said.violations.map((v) => [v.id, v.impact, v.nodes[0].html])))"


def main() -> None:
    axe, study = Path(sys.argv[1]).read_text("utf-8"), Path(sys.argv[2]).resolve()
    command = found()
    if command is None:
        sys.exit("no Chromium here: apt-get install chromium")
    counts: dict[str, int] = {}
    with Browser(command) as browser, tempfile.TemporaryDirectory() as folder:
        for group, url in addresses(study, Path(folder)):
            for width, scheme in SIZES:
                browser.on_page(
                    "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
                )
                go(browser, url, width)
                time.sleep(0.5)  # what the scripts put off is done by then
                browser.value(f"{axe}; 1")
                findings: list[list[Any]] = json.loads(browser.value(RUN))
                counts[group] = counts.get(group, 0) + 1
                for name, impact, html in findings:
                    print(f"  {url} at {width}: {impact}: {name}: {html[:120]}")
                    counts[f"{group}, {impact}"] = counts.get(f"{group}, {impact}", 0) + 1
    for group in ("window", "report", "contest"):
        figure(f"{group}, pages looked at", counts.get(group, 0))
        serious = counts.get(f"{group}, serious", 0) + counts.get(f"{group}, critical", 0)
        figure(f"{group}, serious findings", serious, "0")
        figure(
            f"{group}, moderate and minor ones", counts.get(f"{group}, moderate", 0) + counts.get(f"{group}, minor", 0)
        )


def addresses(study: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """(group, address) of each page, while what serves it runs."""
    window = Window(study)
    try:
        until_read(window)
        yield "window", f"{window.url}/?token={TOKEN}"
        text = window.page("/study", at=study.name)
        paths = [("/study", {"at": study.name})]
        paths += [("/run", first(text, "/run")), ("/program", first(text, "/program")), ("/study", {"at": "none"})]
        for path, values in paths:
            yield "window", f"{window.url}{path}?{httpx.QueryParams(values)}"
        yield "report", f"{window.url}/report?at={study.name}"
    finally:
        window.close()
    contest = founded(folder).contest
    person, _ = accounts.join(contest.database, contest.config, "Ada", "")
    entry = accept(contest, person, starter("local").text.encode()).entry
    with served(contest) as port:
        for page in (*CONTEST, f"entry/{entry.entry_id}"):
            yield "contest", f"http://127.0.0.1:{port}/{page}"


if __name__ == "__main__":
    main()
