"""Scores model.json, which train.py left: bits per byte of lines that no training has seen.

    python score.py [SEED]

It runs in a sandbox of its own, without train.py. Each training seed has its own lines, so that a repeated training
repeats its score.
"""

import math
import sys

from language import symbols, write
from model import load, softmax

SIZE = 1500  # symbols


def main():
    seed = sys.argv[1] if len(sys.argv) > 1 else "1"
    text, bits = write(f"score {seed}", SIZE)
    model, numbers = load("model.json"), [0, *symbols(text)]  # a line feed comes before the first line
    context, losses = model.shape["context"], []
    for start in range(0, len(numbers) - 1, context):
        window = numbers[start : start + context + 1]
        rows = model.logits([window[:-1]]).rows
        losses += [-math.log2(softmax(row)[target]) for row, target in zip(rows, window[1:], strict=True)]
    print(f"floor_bpb: {bits / len(text):.4f}")
    print(f"val_bpb: {sum(losses) / len(losses):.4f}")


if __name__ == "__main__":
    main()
