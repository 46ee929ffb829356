"""A table of which letter follows which, trained by gradient descent."""

import prepare
import torch

LR = 5.0  # learning rate
SEED = prepare.SEED
LETTERS = 16


def main():
    generator = torch.Generator().manual_seed(SEED)
    text = prepare.load_train("train")
    before, after = text[:, :-1].reshape(-1), text[:, 1:].reshape(-1)
    table = 0.1 * torch.randn(LETTERS, LETTERS, generator=generator)
    while not prepare.clock.done():
        places = torch.randint(len(before), (512,), generator=generator)
        error = torch.softmax(table[before[places]], 1)
        error[torch.arange(512), after[places]] -= 1
        table.index_add_(0, before[places], error, alpha=-LR / 512)
    prepare.save(table)
    print(f"steps: {prepare.clock.steps}")


def load(path):
    return torch.load(path, weights_only=True)


def logits(model, inputs):
    return model[inputs]


def step(model, state, symbols):
    return model[symbols], state


if __name__ == "__main__":
    main()
