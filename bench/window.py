"""The window of `metaloop ui` on a large study, and behind a running one.

python -m bench.window [EXPERIMENTS]      default 1000000 (3 GB below TMPDIR, ten minutes to write)

First paint: from the start of the process to the whole first page, and to the page of the study, which may still be
read. Delay: from a line in the ledger of a running study to the event that tells the browser, and to the page with it.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from bench.common import METALOOP, figure
from bench.report import write

APPENDED = 10
SHOWN = """{"kind":"steer","wish_id":"NUMBER","what":"veto","text":"new-NUMBER","name":"","because":"","asked_at":"",\
"generation":0,"at":"2099"}
"""  # a request of a person, which the page shows


def main() -> None:
    experiments = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        write(root / "large", experiments)
        (root / "large" / "study.toml").write_text('command = "evolve"\n')
        began = time.perf_counter()
        with subprocess.Popen(
            [METALOOP, "ui", temporary, "--no-open", "--port", "0"], stdout=subprocess.PIPE, text=True
        ) as ui:
            assert ui.stdout is not None
            try:
                address = ui.stdout.readline().strip()
                listening = time.perf_counter() - began
                with httpx.Client(base_url=address.partition("?")[0], timeout=600, follow_redirects=True) as client:
                    measure(client, address, began, listening, root / "large")
            finally:
                ui.terminate()
    shutil.rmtree(temporary, ignore_errors=True)


def measure(client: httpx.Client, address: str, began: float, listening: float, study: Path) -> None:
    figure("address printed", f"{listening:.2f} s")
    client.get(address).raise_for_status()
    figure("first page", f"{time.perf_counter() - began - listening:.2f} s after the address", "<= 1 s")
    took = []
    for _ in range(5):
        start = time.perf_counter()
        text = client.get("/study", params={"at": "large"}).raise_for_status().text
        took.append(time.perf_counter() - start)
    reading = "still being read" if "Reading its ledger" in text else "read"
    figure("page of the study", f"{statistics.median(took):.2f} s, {reading}", "<= 1 s")
    while "Reading its ledger" in client.get("/study", params={"at": "large"}).text:
        time.sleep(0.5)
    figure("whole ledger read", f"{time.perf_counter() - began:.1f} s after the start")
    delays, shown = [], []
    with client.stream("GET", "/events", params={"at": "large"}) as events:
        changes = (line for line in events.iter_lines() if line.startswith("data:"))
        next(changes)
        for number in range(APPENDED):
            time.sleep(0.7)
            with (study / "ledger" / "main-1.jsonl").open("a") as file:
                file.write(SHOWN.replace("NUMBER", str(number)))
            start = time.perf_counter()
            next(changes)
            delays.append(time.perf_counter() - start)
            while f"new-{number}" not in client.get("/study", params={"at": "large"}).text:
                time.sleep(0.05)
            shown.append(time.perf_counter() - start)
    figure("from the ledger to the browser's event, median of 10", f"{statistics.median(delays):.2f} s")
    figure("from the ledger to the page, median of 10", f"{statistics.median(shown):.2f} s", "<= 2 s")


if __name__ == "__main__":
    main()
