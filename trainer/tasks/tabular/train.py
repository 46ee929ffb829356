"""Predict a number from the columns of a table within the budget. By hand: `python train.py`."""

import torch
from torch import nn
from torch.nn import functional as F

import prepare

# table
CASES = 2000  # rows of the table that are used, of 8000
SLAB = 64  # rows per step
# network
UNITS = 16  # of a hidden layer
LAYERS = 1  # hidden layers
CURVE = "tanh"  # a key of CURVES
SCALING = "none"  # none, layer or batch
SPREAD = 1.0  # of the initial weights, as a multiple of torch's
# descent
RULE = "heavy"  # plain, heavy (with momentum), adam or rms
ETA = 0.03  # step size
INERTIA = 0.8  # of heavy and rms
# schedule
RAMP = 0.0  # first share of the budget in which the step size rises
FADE = 0.0  # last share of the budget in which the step size falls to 0
# restraint
SHRINK = 0.0  # weight decay
MASK = 0.0  # share of hidden units left out
COST = "square"  # square, absolute or huber
CAP = 1.0  # largest norm of the gradients; 0: none

CURVES = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}
COSTS = {"square": F.mse_loss, "absolute": F.l1_loss, "huber": F.smooth_l1_loss}


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("shift", torch.zeros(prepare.COLUMNS))
        self.register_buffer("scale", torch.ones(prepare.COLUMNS))
        width, layers = prepare.COLUMNS, []
        for _ in range(LAYERS):
            layers.append(nn.Linear(width, UNITS))
            width = UNITS
            if SCALING == "layer":
                layers.append(nn.LayerNorm(width))
            elif SCALING == "batch":
                layers.append(nn.BatchNorm1d(width))
            layers.append(CURVES[CURVE]())
            if MASK > 0:
                layers.append(nn.Dropout(MASK))
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, 1)
        with torch.no_grad():
            for part in self.modules():
                if isinstance(part, nn.Linear):
                    part.weight.mul_(SPREAD)

    def forward(self, table):  # float [rows, 16] -> [rows, 1]
        columns = (table - self.shift) / self.scale
        hidden = self.body(columns)
        return self.head(hidden)


def make_optimizer(parameters):
    if RULE == "adam":
        return torch.optim.AdamW(parameters, lr=ETA, weight_decay=SHRINK, fused=True)
    if RULE == "rms":
        return torch.optim.RMSprop(parameters, lr=ETA, momentum=INERTIA, weight_decay=SHRINK)
    return torch.optim.SGD(parameters, lr=ETA, momentum=INERTIA if RULE == "heavy" else 0.0, weight_decay=SHRINK)


def step_size(progress):
    """Rises over RAMP, falls over FADE, constant between."""
    rising = min(1.0, progress / RAMP) if RAMP > 0 else 1.0
    falling = min(1.0, (1.0 - progress) / FADE) if FADE > 0 else 1.0
    return ETA * rising * falling


def main():
    torch.manual_seed(prepare.SEED)
    table, numbers = prepare.load_train()
    table, numbers = table[:CASES], numbers[:CASES]
    model = Network().to(prepare.DEVICE)
    optimizer = make_optimizer(model.parameters())
    order, at = torch.randperm(len(table), device=prepare.DEVICE), 0
    while not prepare.clock.done():
        if at + SLAB > len(order):
            order, at = torch.randperm(len(table), device=prepare.DEVICE), 0
        rows = order[at : at + SLAB]
        at += SLAB
        loss = COSTS[COST](model(table[rows])[:, 0], numbers[rows])
        optimizer.zero_grad()
        loss.backward()
        if CAP > 0:
            nn.utils.clip_grad_norm_(model.parameters(), CAP)
        for group in optimizer.param_groups:
            group["lr"] = step_size(prepare.clock.progress())
        optimizer.step()
    prepare.save(model.state_dict())
    model.eval()
    prepare.summary(
        train_loss=loss.item(),
        val_error=prepare.validate(lambda rows: logits(model, rows)),
        parameters=sum(p.numel() for p in model.parameters()),
    )


def load(path):
    """The trained model of a checkpoint, ready to predict."""
    model = Network()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()


def logits(model, inputs):
    """Predictions [rows, 1] for tables, float32 [rows, 16]."""
    with torch.no_grad():
        return model(inputs.float())


if __name__ == "__main__":
    main()
