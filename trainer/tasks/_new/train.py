"""The file that researchers edit. By hand: `python train.py`."""

import torch
from torch import nn
from torch.nn import functional as F

import prepare

WIDTH = 16  # units of the hidden layer
OPTIMIZER = "sgd"  # sgd or adamw
LR = 0.03  # learning rate
BATCH = 64  # rows per step


def make_model():
    return nn.Sequential(nn.Linear(2, WIDTH), nn.Tanh(), nn.Linear(WIDTH, prepare.CLASSES))


def main():
    torch.manual_seed(prepare.SEED)
    inputs, targets = prepare.load_train()
    model = make_model().to(prepare.DEVICE)
    kind = torch.optim.AdamW if OPTIMIZER == "adamw" else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=LR)
    loss = torch.zeros(())
    while not prepare.clock.done():  # once per step: stops when the budget is used up
        rows = torch.randint(len(inputs), (BATCH,), device=prepare.DEVICE)
        loss = F.cross_entropy(model(inputs[rows]), targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    prepare.save(model.state_dict())
    prepare.summary(train_loss=loss.item())


def load(path):
    """The trained model of a checkpoint; the referee calls this in a process of its own."""
    model = make_model()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()


def logits(model, inputs):
    """Logits [rows, classes] for a chunk of hidden inputs, float32 [rows, 2]."""
    with torch.no_grad():
        return model(inputs)


if __name__ == "__main__":
    main()
