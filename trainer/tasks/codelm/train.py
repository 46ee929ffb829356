"""A small GPT on source code: as few bits per byte as two seconds of one CPU thread allow.

    python train.py

Everything here may be edited; prepare.py may not. The trainer calls ``load``, ``logits`` and ``step`` on text of
the same kind that this file never sees.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from prepare import BYTES_PER_SYMBOL, DEVICE, VOCAB, clock, load_train, save, summary, validate

# ---- what to turn --------------------------------------------------------------------------------
CTX = 128  # symbols that the model sees
BATCH = 8  # rows per step
WIDTH = 64  # of the residual stream
DEPTH = 2  # blocks
HEADS = 4  # per block
MLP_RATIO = 4  # hidden units of the MLP per unit of width
ACTIVATION = "gelu"  # gelu | relu | relu2 | silu
INIT_SD = 0.02  # of every weight matrix
DROPOUT = 0.0  # on what each half block adds
OPTIMIZER = "adamw"  # adamw | sgd
LR = 0.001  # step size
BETA1 = 0.9  # momentum
BETA2 = 0.999  # of the squared gradients
WEIGHT_DECAY = 0.1  # adamw only
CLIP = 1.0  # norm of the gradient; 0 = off
WARMUP = 0.0  # share of the budget in which the step size rises
WARMDOWN = 0.0  # share of the budget in which it falls to zero


# ---- the model -----------------------------------------------------------------------------------
def activate(x: torch.Tensor) -> torch.Tensor:
    return F.relu(x).square() if ACTIVATION == "relu2" else getattr(F, ACTIVATION)(x)


class Past:
    """What the symbols of a window have left behind so far: `step` computes the new one alone."""

    def __init__(self) -> None:
        self.length, self.kept = 0, {}

    def add(self, owner: object, new: torch.Tensor) -> torch.Tensor:
        """[..., 1, features] of the new symbol as the last of [..., symbols so far, features]."""
        if owner not in self.kept:
            self.kept[owner] = new.new_empty(*new.shape[:-2], CTX, new.shape[-1])
        self.kept[owner][..., self.length, :] = new[..., 0, :]
        return self.kept[owner][..., : self.length + 1, :]


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor, past: Past | None = None) -> torch.Tensor:
        rows, length, _ = x.shape
        q, k, v = self.qkv(x).view(rows, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        if past:
            k, v = past.add(self, torch.stack((k, v)))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=not past)
        return self.out(mixed.transpose(1, 2).reshape(rows, length, WIDTH))


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(WIDTH, MLP_RATIO * WIDTH)
        self.down = nn.Linear(MLP_RATIO * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(activate(self.up(x)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.mlp = Attention(), MLP()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: torch.Tensor, past: Past | None = None) -> torch.Tensor:
        x = x + F.dropout(self.attention(self.norm1(x), past), DROPOUT, self.training)
        return x + F.dropout(self.mlp(self.norm2(x)), DROPOUT, self.training)


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.position = nn.Embedding(CTX, WIDTH)
        self.blocks = nn.ModuleList([Block() for _ in range(DEPTH)])
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCAB, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=INIT_SD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        self.head.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor, past: Past | None = None) -> torch.Tensor:
        """Symbols [rows, length ≤ CTX] to logits [rows, length, VOCAB]; with a past, the one symbol that follows it."""
        x = self.embed(tokens)
        x = x + (self.position.weight[past.length] if past else self.position.weight[: tokens.shape[1]])
        for block in self.blocks:
            x = block(x, past)
        return self.head(self.norm(x))


# ---- the optimizer -------------------------------------------------------------------------------
def build_optimizers(model: GPT) -> list[torch.optim.Optimizer]:
    parameters = list(model.parameters())
    if OPTIMIZER == "sgd":
        return [torch.optim.SGD(parameters, lr=LR, momentum=BETA1)]
    return [torch.optim.AdamW(parameters, lr=LR, betas=(BETA1, BETA2), weight_decay=WEIGHT_DECAY)]


def schedule(progress: float) -> float:
    """Factor on the step size; ``progress`` runs from 0 to 1."""
    if progress < WARMUP:
        return max(progress, 0.01) / WARMUP
    return min(1.0, (1.0 - progress) / WARMDOWN) if WARMDOWN else 1.0


# ---- the loop ------------------------------------------------------------------------------------
def batch(text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    starts = torch.randint(len(text) - CTX, (BATCH, 1))
    rows = text[starts + torch.arange(CTX + 1)].long().to(DEVICE)
    return rows[:, :-1], rows[:, 1:]


def main() -> None:
    text = load_train()
    model = GPT().to(DEVICE)
    optimizers = build_optimizers(model)
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    losses = []
    while not clock.done():
        factor = schedule(clock.progress())
        for optimizer, initial in zip(optimizers, rates):
            for group, rate in zip(optimizer.param_groups, initial):
                group["lr"] = rate * factor
        inputs, targets = batch(text)
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        loss.backward()
        if CLIP:
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad()
        losses.append(loss.item())
    save(model.state_dict())
    recent = losses[-max(1, len(losses) // 10) :]
    summary(
        seconds=clock.seconds(),
        train_bpb=sum(recent) / len(recent) / math.log(2) / BYTES_PER_SYMBOL,
        val_bpb=validate(lambda rows: logits(model.eval(), rows)),
        symbols=clock.steps * BATCH * CTX,
        parameters=sum(p.numel() for p in model.parameters()),
    )


# ---- what the referee calls ----------------------------------------------------------------------
def load(path: str) -> GPT:
    model = GPT()
    model.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    return model.eval()


@torch.no_grad()
def logits(model: GPT, inputs: torch.Tensor) -> torch.Tensor:
    """Symbols [rows, any length] to logits [rows, length, VOCAB], a window of CTX symbols at a time."""
    rows, length = inputs.shape
    window = min(CTX, length)
    windows = F.pad(inputs, (0, -length % window)).view(-1, window)
    return model(windows).view(rows, -1, VOCAB)[:, :length]


@torch.no_grad()
def step(model: GPT, past: Past | None, symbols: torch.Tensor) -> tuple[torch.Tensor, Past]:
    """One symbol of each row [rows] to the logits of the next [rows, VOCAB], as `logits` has them, and the new past."""
    past = past if past and past.length < CTX else Past()
    found = model(symbols[:, None], past)[:, -1]
    past.length += 1
    return found, past


if __name__ == "__main__":
    main()
