"""Trains a GPT in plain Python: as few bits per byte as 1.5 CPU-seconds allow, with nothing to install.

    python train.py [SEED [CPU-SECONDS]]

Everything here may be edited. It leaves model.json, which score.py evaluates on lines that this file has not seen.
"""

import math
import random
import sys
import time

from language import ALPHABET, symbols, write
from model import Matrix, Model, Tape, backward, cross_entropy

CONTEXT = 16  # symbols that the model sees
BATCH = 4  # windows per step
WIDTH = 16  # channels
DEPTH = 1  # blocks
HEADS = 4  # attention heads per block
MLP = 4  # hidden units of a block per channel
SQUARED = False  # whether the activation is squared
INIT = 0.05  # SD of the initial weights
LR = 0.003  # step size of AdamW
BETA1 = 0.9  # decay of the average gradient
BETA2 = 0.999  # decay of the average squared gradient
WEIGHT_DECAY = 0.1
WARMDOWN = 0.0  # share of the budget in which the step size falls to zero


def build(rng):
    def matrix(rows, columns):
        return Matrix([[rng.gauss(0.0, INIT) for _ in range(columns)] for _ in range(rows)])

    weights = {"embed": matrix(len(ALPHABET), WIDTH), "position": matrix(CONTEXT, WIDTH)}
    for block in range(DEPTH):
        weights[f"{block}.qkv"] = matrix(3 * WIDTH, WIDTH)
        weights[f"{block}.out"] = matrix(WIDTH, WIDTH)
        weights[f"{block}.up"] = matrix(MLP * WIDTH, WIDTH)
        weights[f"{block}.down"] = matrix(WIDTH, MLP * WIDTH)
    return Model({"depth": DEPTH, "heads": HEADS, "context": CONTEXT, "squared": SQUARED}, weights)


def update(weight, state, rate, step):
    """A step of AdamW (Loshchilov and Hutter, 2019)."""
    scale = rate * math.sqrt(1 - BETA2**step) / (1 - BETA1**step)
    for row, grad, (mean, square) in zip(weight.rows, weight.grad, state, strict=True):
        mean[:] = [BETA1 * m + (1 - BETA1) * g for m, g in zip(mean, grad, strict=True)]
        square[:] = [BETA2 * s + (1 - BETA2) * g * g for s, g in zip(square, grad, strict=True)]
        row[:] = [
            w * (1 - rate * WEIGHT_DECAY) - scale * m / (math.sqrt(s) + 1e-8)
            for w, m, s in zip(row, mean, square, strict=True)
        ]
    weight.grad = None


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 1.5
    rng, text = random.Random(seed), symbols(write("train", 50_000)[0])
    model = build(rng)
    states = {name: [([0.0] * len(row), [0.0] * len(row)) for row in one.rows] for name, one in model.weights.items()}
    Tape.on, losses = True, []
    while (progress := time.process_time() / seconds) < 1.0:
        starts = [rng.randrange(len(text) - CONTEXT) for _ in range(BATCH)]
        logits = model.logits([text[start : start + CONTEXT] for start in starts])
        targets = [symbol for start in starts for symbol in text[start + 1 : start + CONTEXT + 1]]
        losses.append(cross_entropy(logits, targets))
        backward()
        rate = LR * min(1.0, (1.0 - progress) / WARMDOWN) if WARMDOWN else LR
        for name, weight in model.weights.items():
            update(weight, states[name], rate, len(losses))
    model.save("model.json")
    recent = losses[-max(1, len(losses) // 10) :]
    print(f"steps: {len(losses)}")
    print(f"train_bpb: {sum(recent) / len(recent) / math.log(2):.4f}")


if __name__ == "__main__":
    main()
