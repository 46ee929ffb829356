"""Softmax regression, its gradient written out."""

import json
import math
import random

import prepare

LR = 0.01  # learning rate
MOMENTUM = 0.0  # share of the last step that is kept
BATCH = 32  # points per step
INIT = "small"  # small, large or zero
FAULT = "none"  # what goes wrong
CLASSES = 3


def features(inputs):
    return inputs


def scores(weights, row):
    return [sum(x * weight for x, weight in zip(row, column, strict=True)) for column in zip(*weights, strict=True)]


def softmax(found):
    largest = max(found)
    powers = [math.exp(score - largest) for score in found]
    return [power / sum(powers) for power in powers]


def main():
    generator = random.Random(prepare.SEED)
    inputs, targets = prepare.load_train()
    inputs = features(inputs)
    scale = {"small": 0.1, "large": 0.4, "zero": 0.0}[INIT]
    weights = [[scale * generator.gauss(0, 1) for _ in range(CLASSES)] for _ in inputs[0]]
    step = [[0.0] * CLASSES for _ in weights]
    if FAULT == "raise":
        raise RuntimeError("this source is broken")
    if FAULT == "memory":
        bytearray(1 << 35)
    while not prepare.clock.done():
        step = [[MOMENTUM * last for last in row] for row in step]
        for _ in range(BATCH):
            at = generator.randrange(len(inputs))
            error = softmax(scores(weights, inputs[at]))
            error[targets[at]] -= 1.0
            for x, row in zip(inputs[at], step, strict=True):
                for number in range(CLASSES):
                    row[number] += x * error[number] / BATCH
        for row, change in zip(weights, step, strict=True):
            for number in range(CLASSES):
                row[number] -= LR * change[number]
    prepare.save([[float("nan")] * CLASSES for _ in weights] if FAULT == "nan" else weights)
    print(f"steps: {prepare.clock.steps}")


def load(path):
    with open(path) as file:
        return json.load(file)


def logits(model, inputs):
    import numpy

    return numpy.array([scores(model, row) for row in features(inputs.tolist())], "float32")


if __name__ == "__main__":
    main()
