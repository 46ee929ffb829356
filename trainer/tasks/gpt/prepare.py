"""What train.py may rely on and may not change: text, seed, device, clock, compiler, evaluation, summary.

The text is made at every start, in seconds, from one fixed law; it is the same on every device. A symbol is a byte. Of
32 possible successors of a symbol, the symbols before it leave 8, and a topic that changes every 512 symbols or so
decides which of these are likely. Some 30% of the text repeats spans of 32 symbols or so, from up to 1,030 symbols
before. The best possible score is between 1.5 bits (topics and spans known) and 1.9 (topics and spans encoded, too).

Metaloop sets METALOOP_TRAIN_SEED and METALOOP_TRAIN_BUDGET. METALOOP_TRAIN_STEPS=N trains for N steps instead, and
METALOOP_TRAIN_DEVICE=cpu, or no GPU, shrinks all sizes, for tests.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable
from functools import cache

import torch
from torch.nn import functional as F

VOCAB = 256  # symbols
SEED = int(os.environ.get("METALOOP_TRAIN_SEED") or "1")  # of initialisation and batches
BUDGET = float(os.environ.get("METALOOP_TRAIN_BUDGET") or "300")  # seconds; task.toml has the same value
STEPS = int(os.environ.get("METALOOP_TRAIN_STEPS") or "0")
DEVICE = os.environ.get("METALOOP_TRAIN_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
GPU = DEVICE != "cpu"
HALF = torch.bfloat16 if GPU else torch.float32  # what the model computes in

# dense bf16 TFLOP/s by the makers' data sheets; the first key that the device's name contains counts
PEAKS = {
    "H100 PCIe": 756, "H100 NVL": 835, "H100": 989, "H200": 989, "B200": 2250, "A100": 312, "L40S": 362, "4090": 165,
}  # fmt: skip

_imported = time.perf_counter()
torch.manual_seed(SEED)


def shrunk(size: int, by: int) -> int:
    """``size`` on a GPU; on a CPU divided by ``by``, and one at least."""
    return size if GPU else max(1, size // by)


@cache
def text(split: int, rows: int, length: int) -> torch.Tensor:
    """Symbols of a split, uint8 [rows, length] on the device. All rows are made at once, symbol by symbol."""
    law = torch.Generator().manual_seed(0)
    first = (torch.randint(4096, (VOCAB * 32,), generator=law) ** 3 >> 28).to(DEVICE)  # small symbols are frequent
    second = torch.randint(32, (VOCAB * VOCAB,), generator=law).to(DEVICE)
    third = 8 * torch.randint(2, (VOCAB,), generator=law).to(DEVICE)
    chances = torch.arange(8).repeat_interleave(torch.tensor([112, 56, 32, 20, 14, 10, 8, 4])).to(DEVICE)
    row = torch.arange(rows, device=DEVICE)
    state = row + (split << 32)
    for shift in (30, 27, 31):  # far from the states of all other rows
        state = (state ^ state >> shift) * 0x3F58476D1CE4E5B9
    topic, source, a, b, c = state >> 61 & 7, *torch.zeros(4, rows, dtype=torch.long, device=DEVICE)
    made = torch.zeros(length, rows, dtype=torch.uint8, device=DEVICE)
    for at in range(length):
        state = state * 6364136223846793005 + 1442695040888963407  # Knuth's generator; its low bits are not used
        bits = state >> 20
        topic = torch.where(bits & 511 == 0, bits >> 9 & 7, topic)
        back = 8 + ((bits >> 12 & 1023) ** 2 >> 10)
        begins = (bits >> 22 & 63 == 0) & (back <= at)
        source = torch.where(source > 0, torch.where(bits >> 28 & 31 == 0, 0, source), torch.where(begins, back, 0))
        likely = chances[bits >> 33 & 255] ^ topic
        chained = first[c * 32 + (second[b * VOCAB + c] + third[a] + likely & 31)]
        a, b, c = b, c, torch.where(source > 0, made[at - source, row].long(), chained)
        made[at] = c
    return made.T.contiguous()


def train_text() -> torch.Tensor:
    """The training text: 400 million symbols, uint8 [rows, 3072]; rows have nothing to do with each other."""
    return text(1, shrunk(1 << 17, 512), shrunk(3072, 16))


@torch.no_grad()
def validate(predict: Callable[[torch.Tensor], torch.Tensor]) -> float:
    """Bits per symbol on a million symbols of other rows. ``predict``: int64 [rows, 2048] to logits [.., VOCAB]."""
    rows = text(2, shrunk(512, 64), shrunk(2048, 16) + 1).long()
    nats = 0.0
    for part in rows.split(32):
        logits = predict(part[:, :-1]).float()
        nats += F.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="sum").item()
    return nats / rows[:, 1:].numel() / math.log(2)


class Clock:
    """The budget in wall seconds from the first step on, or METALOOP_TRAIN_STEPS. Call `done()` before each step."""

    def __init__(self) -> None:
        self.steps = 0  # granted so far
        self.started = self.ended = 0.0
        self._marks: deque[torch.cuda.Event] = deque()

    def seconds(self) -> float:
        return (self.ended or time.perf_counter()) - self.started

    def progress(self) -> float:
        """Share of the budget that is used: 0 at the start, 1 at the end."""
        return min(1.0, self.steps / STEPS if STEPS else self.seconds() / BUDGET)

    def done(self) -> bool:
        """True at the end of the budget; else grants a step. The host is never more than two steps ahead of a GPU."""
        if GPU and self.steps:
            self._marks.append(torch.cuda.Event(blocking=True))
            self._marks[-1].record()
            if len(self._marks) > 2:
                self._marks.popleft().synchronize()
        if self.steps and self.progress() >= 1.0:
            self.ended = _now()
            return True
        self.started = self.started or _now()
        self.steps += 1
        return False


def _now() -> float:
    """When all that was started on the device has ended."""
    if GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


clock = Clock()


def compiled(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """``function`` as kernels made for its shapes, which must not change; on a CPU as it is."""
    return torch.compile(function, dynamic=False) if GPU else function


_noted = 0


def note(loss: torch.Tensor) -> None:
    """Ten times a run a line with the loss; FloatingPointError where it is no number any more. Cheap at other times."""
    global _noted
    if (tenth := int(clock.progress() * 10)) <= _noted:
        return
    _noted, value = tenth, float(loss)
    print(f"{tenth}0%: step {clock.steps}, loss {value:.4f}, {clock.seconds():.1f} s", flush=True)
    if not math.isfinite(value):
        raise FloatingPointError(f"the loss is {value} after {clock.steps} steps")


def summary(*, val_bpb: float, symbols: int, flops_per_symbol: float, parameters: int) -> None:
    """Print `key: value` lines. ``symbols``: those trained on; seconds count from the import of this file."""
    device = torch.cuda.get_device_name() if GPU else "cpu (small sizes)"
    speed = symbols / clock.seconds()
    print(f"val_bpb: {val_bpb:.6f}")
    print(f"training_seconds: {clock.seconds():.1f}")
    print(f"startup_seconds: {clock.started - _imported:.1f}")
    print(f"total_seconds: {time.perf_counter() - _imported:.1f}")
    if GPU:
        print(f"peak_vram_mb: {torch.cuda.max_memory_allocated() / 2**20:.0f}")
    if peak := next((peak for name, peak in PEAKS.items() if name in device and "MIG" not in device), 0):
        print(f"mfu_percent: {speed * flops_per_symbol / peak / 1e10:.2f}")
    print(f"tokens_per_second: {speed:.0f}")
    print(f"num_steps: {clock.steps}")
    print(f"num_params_M: {parameters / 1e6:.3f}")
    print(f"device: {device}")
