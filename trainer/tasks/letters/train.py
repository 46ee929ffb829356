"""Predict the next letter of a made-up language from the letters before it, within the budget. By hand: `python train.py`."""

import torch
from torch import nn
from torch.nn import functional as F

import prepare

# text
SAMPLES = 4000  # windows that are used, of 12000
MEMORY = 4  # letters of a window that the model sees, of 16
CHUNK = 64  # windows per step
# model
CHANNELS = 8  # of a letter's vector
CELLS = 32  # of a hidden layer
STAGES = 1  # hidden layers
SHAPE = "tanh"  # a key of SHAPES
BALANCE = "none"  # none, layer or batch
START = 1.0  # initial weights, as a multiple of torch's
# updates
METHOD = "inertial"  # gd, inertial, adamw or adagrad
SPEED = 0.3  # size of a step
GLIDE = 0.8  # of inertial
PULL = 0.0  # weight decay
LIMIT = 0.0  # largest norm of the gradients; 0: none
# course
RISE = 0.0  # first share of the budget in which the steps grow
FALL = 0.0  # last share of the budget in which they shrink to 0
# caution
HOLES = 0.0  # share of hidden cells left out
SOFT = 0.0  # share of the target spread over all letters

SHAPES = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU, "elu": nn.ELU}


class Predictor(nn.Module):
    def __init__(self):
        super().__init__()
        self.vectors = nn.Embedding(prepare.LETTERS, CHANNELS)
        size, stages = MEMORY * CHANNELS, []
        for _ in range(STAGES):
            stages.append(nn.Linear(size, CELLS))
            size = CELLS
            if BALANCE == "layer":
                stages.append(nn.LayerNorm(size))
            elif BALANCE == "batch":
                stages.append(nn.BatchNorm1d(size))
            stages.append(SHAPES[SHAPE]())
            if HOLES > 0:
                stages.append(nn.Dropout(HOLES))
        self.stages = nn.Sequential(*stages)
        self.out = nn.Linear(size, prepare.LETTERS)
        with torch.no_grad():
            for part in self.modules():
                if isinstance(part, (nn.Linear, nn.Embedding)):
                    part.weight.mul_(START)

    def forward(self, windows):  # int64 [rows, 16] -> logits [rows, 27]
        seen = windows[:, -MEMORY:]
        vectors = self.vectors(seen).flatten(1)
        return self.out(self.stages(vectors))


def updates(parameters):
    if METHOD == "adamw":
        return torch.optim.AdamW(parameters, lr=SPEED, weight_decay=PULL, fused=True)
    if METHOD == "adagrad":
        return torch.optim.Adagrad(parameters, lr=SPEED, weight_decay=PULL)
    return torch.optim.SGD(parameters, lr=SPEED, momentum=GLIDE if METHOD == "inertial" else 0.0, weight_decay=PULL)


def speed(progress):
    """Grows over RISE, shrinks over FALL, constant between."""
    growing = min(1.0, progress / RISE) if RISE > 0 else 1.0
    return SPEED * growing * (min(1.0, (1.0 - progress) / FALL) if FALL > 0 else 1.0)


def main():
    torch.manual_seed(prepare.SEED)
    windows, letters = prepare.load_train()
    windows, letters = windows[:SAMPLES].long(), letters[:SAMPLES]
    model = Predictor().to(prepare.DEVICE)
    optimizer = updates(model.parameters())
    order, at = torch.randperm(len(windows), device=prepare.DEVICE), 0
    while not prepare.clock.done():
        if at + CHUNK > len(order):
            order, at = torch.randperm(len(windows), device=prepare.DEVICE), 0
        rows = order[at : at + CHUNK]
        at += CHUNK
        loss = F.cross_entropy(model(windows[rows]), letters[rows], label_smoothing=SOFT)
        optimizer.zero_grad()
        loss.backward()
        if LIMIT > 0:
            nn.utils.clip_grad_norm_(model.parameters(), LIMIT)
        for group in optimizer.param_groups:
            group["lr"] = speed(prepare.clock.progress())
        optimizer.step()
    prepare.save(model.state_dict())
    model.eval()
    prepare.summary(
        train_loss=loss.item(),
        val_nll=prepare.validate(lambda rows: logits(model, rows)),
        parameters=sum(p.numel() for p in model.parameters()),
    )


def load(path):
    """The trained model of a checkpoint, ready to predict."""
    model = Predictor()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()


def logits(model, inputs):
    """Logits [rows, 27] for windows, uint8 [rows, 16]."""
    with torch.no_grad():
        return model(inputs.long())


if __name__ == "__main__":
    main()
