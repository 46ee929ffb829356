"""Softmax regression, its gradient written out."""

import prepare
import torch

LR = 0.01  # learning rate
MOMENTUM = 0.0  # share of the last step that is kept
BATCH = 32  # points per step
INIT = "small"  # small, large or zero
FAULT = "none"  # what goes wrong
CLASSES = 3


def features(inputs):
    return inputs


def main():
    generator = torch.Generator().manual_seed(prepare.SEED)
    inputs, targets = prepare.load_train()
    inputs, onehot = features(inputs), torch.eye(CLASSES)[targets]
    scale = {"small": 0.1, "large": 1.0, "zero": 0.0}[INIT]
    weights = scale * torch.randn(inputs.shape[1], CLASSES, generator=generator)
    step = torch.zeros_like(weights)
    if FAULT == "raise":
        raise RuntimeError("this source is broken")
    if FAULT == "memory":
        torch.ones(1 << 33)
    while not prepare.clock.done():
        rows = torch.randint(len(inputs), (BATCH,), generator=generator)
        error = torch.softmax(inputs[rows] @ weights, 1) - onehot[rows]
        step = MOMENTUM * step + inputs[rows].T @ error / BATCH
        weights -= LR * step
    prepare.save(weights * float("nan") if FAULT == "nan" else weights)
    print(f"steps: {prepare.clock.steps}")


def load(path):
    return torch.load(path, weights_only=True)


def logits(model, inputs):
    return features(inputs) @ model


if __name__ == "__main__":
    main()
