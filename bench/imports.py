"""`metaloop import` of many logs: wall and CPU seconds, rows, lines set aside, bytes.

python bench/imports.py [LOGS] [ROWS]

The logs are drawn by keep-if-better with noise, each with a schema, a metric and irregular lines of its own; a line in
fifty is stray code or prose, so that what is imported and what is set aside must add up to every line written.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.common import METALOOP, figure, sql

SCHEMAS = (
    ("commit", "val_bpb", "memory_gb", "status", "description"),
    ("experiment", "status", "val_loss", "description", "memory_gb", "seed", "timestamp"),
    ("timestamp", "commit", "score", "lr", "status", "notes"),
    ("commit", "metric_before", "val_mse", "delta", "decision", "hypothesis"),
)
HIGHER = {"score"}
TRIES = (
    "raise the learning rate", "wider mlp", "drop weight decay", "GELU → ReLU²", "batch size 2**19", "tune the warmup",
    'say "cheese" in the embedding', "rotary base 1e5", "re-run of best, seed 3", "simplify the loss",
    "学习率加倍", "deeper by two layers",
)  # fmt: skip
WORDS = {"keep": ("keep", "KEEP", "kept"), "discard": ("discard", "reverted", "REJECT"), "crash": ("crash", "OOM")}
STRAY = ("    x = x + self.attn(norm(x))", "## what was learned", "}", "the rest is noise, I think")
STRAY_EVERY = 50


def write_log(path: Path, rows: int, rng: random.Random) -> int:
    """One log of ``rows`` rows; returns the stray lines in it."""
    schema = SCHEMAS[rng.randrange(len(SCHEMAS))]
    metric = next(name for name in schema if name in ("val_bpb", "val_loss", "score", "val_mse"))
    sign = -1.0 if metric in HIGHER else 1.0
    lines, stray = ["\t".join(schema)], 0
    head = truth = 1.0
    for number in range(rows):
        value = truth - sign * rng.gauss(-0.004, 0.004) + rng.gauss(0.0, 0.001) if number else truth
        crashed = number > 0 and rng.random() < 0.08
        kept = number == 0 or (not crashed and sign * value < sign * head)
        status = "crash" if crashed else "keep" if kept else "discard"
        cells = {
            "commit": f"{rng.getrandbits(28):07x}", "experiment": f"exp{number}", "status": rng.choice(WORDS[status]),
            "memory_gb": f"{44 + rng.random():.1f}", "seed": "1", "timestamp": f"{1_700_000_000 + number}",
            "description": "baseline" if not number else rng.choice(TRIES), "lr": "0.1", "delta": "-",
            "metric_before": f"{head:.6f}", metric: "0.000000" if crashed else f"{value:.6f}",
        }  # fmt: skip
        cells |= {"notes": cells["description"], "hypothesis": cells["description"], "decision": cells["status"]}
        lines.append("\t".join(cells[name] for name in schema))
        if kept:
            head, truth = value, value
        if rng.random() < 1 / STRAY_EVERY:
            lines.append(rng.choice(STRAY))
            stray += 1
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return stray


def main() -> None:
    logs, rows = (int(text) for text in (sys.argv[1:3] or ("100", "1000")))
    rng = random.Random(7)
    with tempfile.TemporaryDirectory() as work:
        folder, study = Path(work) / "logs", Path(work) / "study"
        stray = sum(write_log(folder / f"log-{n:04d}" / "results.tsv", rows, rng) for n in range(logs))
        size = sum(path.stat().st_size for path in folder.rglob("results.tsv"))
        began = time.perf_counter()
        command = [METALOOP, "import", str(folder), "-s", str(study), "-q"]
        subprocess.run(command, check=True, stdout=sys.stderr)
        seconds = time.perf_counter() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        ledger = sum(path.stat().st_size for path in (study / "ledger").glob("*.jsonl"))
        (imported,) = sql(study, "SELECT sum(rows)::BIGINT AS rows, sum(quarantined)::BIGINT AS aside FROM imports")
        figure("import_seconds", round(seconds, 1), "<= 20 for 100 logs of 1000 rows")
        figure("import_cpu_seconds", round(used.ru_utime + used.ru_stime, 1), "of all processes together")
        figure("import_rows", imported["rows"], f"{logs * rows} written")
        figure("import_quarantined", imported["aside"], f"{stray} stray lines written")
        figure("import_lost", logs * rows + stray - imported["rows"] - imported["aside"], "0")
        figure("import_bytes", f"{size} of logs, {ledger} of ledger")


if __name__ == "__main__":
    main()
