"""More repositories of others: relatives of autoresearch, other languages, and such as stand in their own way."""

from __future__ import annotations

from pathlib import Path

from tests.trainer.foreign_repos import PREPARE, PROGRAM, TRAIN, original, write_files

MLX_PROGRAM = """# autoresearch-mlx

This is a port to Apple silicon. Same rules as upstream.

## Rules
- `train.py` is yours, change anything in it. Leave `evaluate.py` alone: it is the ground truth.
- One experiment = `python3 train.py > run.log 2>&1`. It trains for 0.2 seconds and then evaluates.
- After each run: `grep -E '^(val_accuracy|throughput_tok_s)' run.log`
- Goal: the highest `val_accuracy`. Throughput does not matter as such.

## Log
Append to `results.tsv`: `commit\tval_accuracy\tmemory_gb\tstatus\tdescription`
"""

MLX_TRAIN = """import os, random, sys, time
from dataclasses import dataclass

from evaluate import accuracy

TRAIN_SECONDS = float(os.environ.get("TRAIN_SECONDS", 0.2))


@dataclass
class Config:
    n_layer: int = 4
    lr: float = 3e-4
    dropout: float = 0.1


random.seed()
cfg = Config()
t0 = time.time()
weight, step = 0.0, 0
while time.time() - t0 < TRAIN_SECONDS:
    weight += cfg.lr * (1.0 - weight) + random.gauss(0, 1e-6)
    step += 1
    if step >= 20000:
        break
    if step % 5000 == 0:
        print(f"step {step:05d} | loss {1 - weight:.4f} | val_accuracy: {accuracy(weight) * 0.9:.4f}")
val = accuracy(weight)
print("\\n---")
print(f"val_accuracy:     {val:.4f}")
print(f"throughput_tok_s: {step / (time.time() - t0):,.0f}")
print(f"total_seconds:    {time.time() - t0:.1f}")
"""


TRADER_PROGRAM = """# autotrader

Finds trading rules on its own. Data lies in `~/.cache/autotrader-of-nobody/`; if not, run `uv run prepare.py`.

Each experiment has a **fixed time budget of 2 minutes** and is started as `uv run train.py`.
You may change `train.py`, nothing else; `prepare.py` is read-only.

**Get the highest score.** A simpler model may score higher. Of two equal ones the simpler is better.

```
---
score:            0.4200
sharpe:           0.5800
max_drawdown:     -15.2%
n_trades:         1,270
valid:            true
training_seconds: 118.3
```

    grep "^score:\\|^valid:" run.log

Each run should take about 3 minutes in all. If one exceeds 6 minutes, kill it.
"""


def trader(folder: Path) -> Path:
    """A fork for another purpose: several figures of which one counts, a budget in minutes in the text."""
    return write_files(folder, {
        "program.md": TRADER_PROGRAM, "prepare.py": "def score(x):\n    return 0.5 - (x - 2) ** 2\n",
        "train.py": "from prepare import score\n\nHIDDEN_SIZE = 2\nprint('---')\n"
        "print(f'score:            {score(HIDDEN_SIZE):.4f}')\nprint(f'sharpe:           {0.58:.4f}')\n"
        "print(f'max_drawdown:     {-15.2:.1f}%')\nprint(f'n_trades:         {1270:,}')\n"
        "print('valid:            true')\n",
    })  # fmt: skip


def mlx(folder: Path) -> Path:
    """A fork with other metric names, higher better, its budget a variable, progress lines with the metric in them."""
    return write_files(folder, {
        "program.md": MLX_PROGRAM, "train.py": MLX_TRAIN, "README.md": "# autoresearch-mlx\n\nRun on a Mac.\n",
        "evaluate.py": "def accuracy(weight):\n    return max(0.0, min(1.0, weight))\n",
        "requirements.txt": "mlx>=0.20\nnumpy\n", ".gitignore": "run.log\n__pycache__\n",
    })  # fmt: skip


def configured(folder: Path) -> Path:
    """A relative whose researcher edits a YAML file; the entry point takes it as an argument."""
    return write_files(folder, {
        "README.md": "# tiny-trainer\n\n## Usage\n\n```bash\npip install -r requirements.txt\n"
        "python -m trainer_lib.main --config configs/base.yaml --seed 0\n```\n\n"
        "Prints `test_rmse`. We want it as low as possible.\n",
        "AGENTS.md": "You may only edit `configs/base.yaml`. Everything in `trainer_lib/` is off limits.\n",
        "configs/base.yaml": "model:\n  width: 32\n  depth: 2\noptim:\n  lr: 0.05\n  momentum: 0.9\nsteps: 300\n",
        "trainer_lib/__init__.py": "",
        "trainer_lib/main.py": "import argparse, random, re\n\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--config')\nparser.add_argument('--seed', type=int, default=0)\n"
        "args = parser.parse_args()\ntext = open(args.config).read()\n"
        "conf = {k: float(v) for k, v in re.findall(r'(\\w+): ([\\d.]+)', text)}\nrandom.seed(args.seed)\n"
        "w = 0.0\nfor _ in range(int(conf['steps'])):\n    w -= conf['lr'] * 0.1 * (w - 2.0 + random.gauss(0, 0.1))\n"
        "print(f'final: test_rmse={abs(w - 2.0):.5f} width={conf[\"width\"]:.0f}')\n",
        "requirements.txt": "pyyaml\n",
    })  # fmt: skip


def timed(folder: Path) -> Path:
    """C, built and timed by one line; the time has a unit behind it."""
    return write_files(folder, {
        "Makefile": "CFLAGS ?= -O2\n\nbench: bench.o matmul.o\n\t$(CC) $(CFLAGS) -o $@ $^\n\n"
        "%.o: %.c matmul.h\n\t$(CC) $(CFLAGS) -c $<\n\nclean:\n\trm -f *.o bench\n",
        "matmul.h": "void matmul(const float *a, const float *b, float *c, int n);\n",
        "matmul.c": '#include "matmul.h"\n#define TILE 16\n\n'
        "void matmul(const float *a, const float *b, float *c, int n) {\n"
        "    for (int i = 0; i < n; i++)\n        for (int j = 0; j < n; j++) {\n            float s = 0;\n"
        "            for (int k = 0; k < n; k++) s += a[i * n + k] * b[k * n + j];\n"
        "            c[i * n + j] = s;\n        }\n}\n",
        "bench.c": '#include <stdio.h>\n#include <stdlib.h>\n#include <time.h>\n#include "matmul.h"\n'
        "int main(void) {\n    int n = 128;\n"
        "    float *a = calloc(n * n, 4), *b = calloc(n * n, 4), *c = calloc(n * n, 4);\n"
        "    struct timespec s, e;\n    clock_gettime(CLOCK_MONOTONIC, &s);\n"
        "    for (int r = 0; r < 5; r++) matmul(a, b, c, n);\n"
        "    clock_gettime(CLOCK_MONOTONIC, &e);\n"
        '    printf("n = %d\\n", n);\n'
        '    printf("time: %.2f ms\\n", ((e.tv_sec - s.tv_sec) * 1e3 + (e.tv_nsec - s.tv_nsec) / 1e6) / 5);\n'
        "    return 0;\n}\n",
        "README.md": "# Fast matmul in C\n\nOptimize `matmul.c`. Build and run:\n\n    make && ./bench\n\n"
        "The output is `time: 1.23 ms`.\n",
    })  # fmt: skip


def kernel_json(folder: Path) -> Path:
    """A bench of kernels in Python that writes JSON with several cases."""
    return write_files(folder, {
        "program.md": "# Kernel optimization\n\nEdit kernels/softmax.py only. Never touch benchmark.py.\n\n"
        "```bash\npython benchmark.py --out results/bench.json\n```\n\n"
        'The file looks like\n```json\n{"geomean_us": 12.3, "cases": [{"n": 128, "us": 3.1}], "correct": true}\n```\n'
        "Lower `geomean_us` is better; correctness must stay true.\n",
        "benchmark.py": "import argparse, json, math, os, time\nfrom kernels.softmax import softmax\n\n"
        "p = argparse.ArgumentParser(); p.add_argument('--out', default='results/bench.json'); a = p.parse_args()\n"
        "cases = []\nfor n in (64, 256):\n    x = [0.01 * i for i in range(n)]\n    t = time.perf_counter()\n"
        "    for _ in range(50): y = softmax(x)\n"
        "    cases.append({'n': n, 'us': (time.perf_counter() - t) / 50 * 1e6})\n"
        "ok = abs(sum(y) - 1) < 1e-6\ng = math.exp(sum(math.log(c['us']) for c in cases) / len(cases))\n"
        "os.makedirs(os.path.dirname(a.out), exist_ok=True)\n"
        "json.dump({'geomean_us': g, 'cases': cases, 'correct': ok}, open(a.out, 'w'))\nprint('wrote', a.out)\n",
        "kernels/__init__.py": "",
        "kernels/softmax.py": "import math\n\nCHUNK = 32\n\n\ndef softmax(x):\n    m = max(x)\n"
        "    e = [math.exp(v - m) for v in x]\n    s = sum(e)\n    return [v / s for v in e]\n",
    })  # fmt: skip


def tested(folder: Path) -> Path:
    """A shell script that runs tests and says how many pass."""
    return _runnable(write_files(folder, {
        "README.md": "# Spell checker\n\nImprove `correct.py` so that more cases pass.\n\n"
        "Evaluate with `./evaluate.sh`, which prints e.g. `Passed: 3/4 (75.0%)` and `accuracy = 0.75`.\n",
        "evaluate.sh": "#!/usr/bin/env bash\nset -euo pipefail\ncd \"$(dirname \"$0\")\"\npass=0; total=0\n"
        "while IFS=$'\\t' read -r in out; do\n  total=$((total + 1))\n"
        "  [ \"$(python3 correct.py \"$in\")\" = \"$out\" ] && pass=$((pass + 1))\ndone < cases.tsv || true\n"
        "echo \"Passed: $pass/$total\"\necho \"accuracy = $(python3 -c \"print($pass / $total)\")\"\n",
        "correct.py": "import sys\n\nMAX_DISTANCE = 1\nWORDS = ['hello', 'world']\nword = sys.argv[1]\n"
        "close = [w for w in WORDS if sum(a != b for a, b in zip(w, word)) <= MAX_DISTANCE and len(w) == len(word)]\n"
        "print(close[0] if close else word)\n",
        "cases.tsv": "hallo\thello\nworld\tworld\nwarlt\tworld\nyes\tyes\n",
    }), "evaluate.sh")  # fmt: skip


def node(folder: Path) -> Path:
    """JavaScript: a bench of package.json."""
    return write_files(folder, {
        "package.json": '{\n  "name": "fast-parse",\n  "version": "1.0.0",\n  "type": "module",\n'
        '  "scripts": {\n    "bench": "node bench.js",\n    "test": "node test.js"\n  }\n}\n',
        "README.md": "# fast-parse\n\nHack on `src/parse.js`; run `npm run bench`, which prints ops_per_sec.\n",
        "src/parse.js": "export const BUFFER = 64;\n\n"
        "export function parse(text) {\n  return text.split(',').map(Number);\n}\n",
        "bench.js": "import { parse } from './src/parse.js';\nconst text = '1,2,3,4,5';\n"
        "const start = performance.now();\n"
        "let n = 0;\nwhile (performance.now() - start < 50) { parse(text); n++; }\n"
        "console.log(`ops_per_sec: ${(n / (performance.now() - start) * 1000).toFixed(0)}`);\n",
        "test.js": "console.log('ok');\n",
    })  # fmt: skip


def voiceless(folder: Path) -> Path:
    """train.py alone, no program.md, no README; several figures, one of them plain."""
    return write_files(folder, {
        "train.py": "import random\n\nrandom.seed(0)\nlearning_rate = 0.1\nepochs = 5\nx = 5.0\n"
        "for epoch in range(epochs):\n    x -= learning_rate * 2 * x\n    print(f'epoch {epoch} loss {x * x:.4f}')\n"
        "print('Final validation loss:', x * x)\n",
    })  # fmt: skip


def broken(folder: Path) -> Path:
    """The original with a slip in train.py."""
    place = original(folder)
    (place / "train.py").write_text(TRAIN.replace("evaluate(weight)", "evaluate(wieght)"))
    return place


def unparsable(folder: Path) -> Path:
    """The original with a syntax error in train.py."""
    place = original(folder)
    (place / "train.py").write_text(TRAIN.replace("if steps >= 2000:", "if steps >= 2000"))
    return place


def mute(folder: Path) -> Path:
    """Prints nothing that looks like a metric."""
    return write_files(folder, {
        "program.md": "# Research\n\nModify `train.py`. Run `python train.py`. Make it better.\n",
        "train.py": "LR = 0.1\nx = 1.0 - LR\nprint('done', round(x, 3))\n",
    })  # fmt: skip


def downloading(folder: Path) -> Path:
    """Fetches its data when it is started."""
    place = original(folder)
    fetch = (
        "import urllib.request\n\nTIME_BUDGET = 0.1\n\nURL = 'https://data.example.org/shard_0.bin'\n"
        "data = urllib.request.urlopen(URL, timeout=5).read()\n"
    )
    (place / "prepare.py").write_text(PREPARE.replace("TIME_BUDGET = 0.1  # CPU-seconds\n", fetch))
    return place


def linked(folder: Path) -> Path:
    """Data by a link out of the repository, a submodule, and a file that Git LFS has left a pointer of."""
    place = original(folder)
    outside = folder.parent / "elsewhere"
    outside.mkdir(parents=True, exist_ok=True)
    (outside / "corpus.txt").write_text("text " * 100)
    (place / "data").symlink_to(outside)
    (place / "weights.bin").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:"
        "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 132735232\n"
    )
    (place / ".gitmodules").write_text('[submodule "lib/ops"]\n\tpath = lib/ops\n\turl = https://example.org/ops.git\n')
    (place / "lib/ops").mkdir(parents=True)
    prepare = PREPARE + "\n\nassert len(open('data/corpus.txt').read()) == 500\n"
    (place / "prepare.py").write_text(prepare)
    return place


def heavy(folder: Path, megabytes: int = 50) -> Path:
    """The original with a large data file that its evaluation opens."""
    place = original(folder)
    with (place / "shard.bin").open("wb") as file:
        for _ in range(megabytes):
            file.write(b"0123456789abcdef" * (1 << 16))
    (place / "prepare.py").write_text(
        PREPARE + f"\n\nassert len(open('shard.bin', 'rb').read()) == {megabytes} << 20\n"
    )
    return place


def minutes(folder: Path) -> Path:
    """A budget of five minutes in a constant, as the first autoresearch has it; the run ends much earlier."""
    place = original(folder)
    (place / "prepare.py").write_text(PREPARE.replace("0.1  # CPU-seconds", "300  # training time budget in seconds"))
    (place / "program.md").write_text(PROGRAM.replace("fixed time budget", "fixed time budget of 5 minutes"))
    return place


def _runnable(place: Path, name: str) -> Path:
    (place / name).chmod(0o755)
    return place
