"""Train a classifier of 16x16 stroke images within the budget. By hand: `python train.py`."""

import torch
from torch import nn
from torch.nn import functional as F

import prepare

# data
ROWS = 2000  # training images that are used, of 8000
# model
WIDTH = 32  # units of a hidden layer
DEPTH = 1  # hidden layers
ACTIVATION = "tanh"  # a key of ACTIVATIONS
NORM = "none"  # none, layer or batch
# optimizer
OPTIMIZER = "sgd"  # sgd, nesterov, adamw, rmsprop or lbfgs
LR = 0.5  # learning rate
MOMENTUM = 0.8  # of sgd, nesterov and rmsprop
BATCH = 128  # images per step
# schedule
COOLDOWN = 0.8  # last share of the budget in which the learning rate falls to 0
# regularisation
DROPOUT = 0.1  # of hidden units
LABEL_SMOOTHING = 0.1  # share of the target spread over all classes

PIXELS = prepare.SIDE * prepare.SIDE
ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "glu": nn.GLU}


def scaled(images):
    """Grey values as the model wants them: uint8 [rows, 256] -> float [rows, 256]."""
    return images.float() / 255


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        features = PIXELS
        layers = []
        for _ in range(DEPTH):
            layers.append(nn.Linear(features, WIDTH))
            features = WIDTH
            if NORM == "layer":
                layers.append(nn.LayerNorm(WIDTH))
            elif NORM == "batch":
                layers.append(nn.BatchNorm1d(WIDTH))
            layers.append(ACTIVATIONS[ACTIVATION]())
            if DROPOUT > 0:
                layers.append(nn.Dropout(DROPOUT))
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(features, prepare.CLASSES)

    def forward(self, images):  # float [rows, 256] -> logits [rows, 10]
        return self.head(self.body(images))


def make_optimizer(parameters):
    if OPTIMIZER == "adamw":
        return torch.optim.AdamW(parameters, lr=LR, betas=(0.9, 0.99), fused=True)
    if OPTIMIZER == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=LR, momentum=MOMENTUM)
    if OPTIMIZER == "lbfgs":
        return torch.optim.LBFGS(parameters, lr=LR)
    return torch.optim.SGD(parameters, lr=LR, momentum=MOMENTUM, nesterov=OPTIMIZER == "nesterov")


def learning_rate(progress):
    """Constant, then a straight line to 0 over the last COOLDOWN of the budget."""
    return LR * min(1.0, (1.0 - progress) / COOLDOWN) if COOLDOWN > 0 else LR


def main():
    torch.manual_seed(prepare.SEED)
    inputs, targets = prepare.load_train()
    inputs, targets = inputs[:ROWS], targets[:ROWS]
    model = Model().to(prepare.DEVICE)
    optimizer = make_optimizer(model.parameters())
    order, at = torch.randperm(len(inputs), device=prepare.DEVICE), 0
    while not prepare.clock.done():
        if at + BATCH > len(order):
            order, at = torch.randperm(len(inputs), device=prepare.DEVICE), 0
        rows = order[at : at + BATCH]
        at += BATCH
        loss = F.cross_entropy(model(scaled(inputs[rows])), targets[rows], label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(prepare.clock.progress())
        optimizer.step()
    prepare.save(model.state_dict())
    model.eval()
    prepare.summary(
        train_loss=loss.item(),
        val_nll=prepare.validate(lambda images: logits(model, images)),
        parameters=sum(p.numel() for p in model.parameters()),
    )


def load(path):
    """The trained model of a checkpoint, ready to predict."""
    model = Model()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()


def logits(model, inputs):
    """Logits [rows, 10] for images, uint8 [rows, 256]."""
    with torch.no_grad():
        return model(scaled(inputs))


if __name__ == "__main__":
    main()
