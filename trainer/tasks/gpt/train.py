"""A GPT of some 50 million parameters: as few bits per byte as five minutes of one GPU allow.

    python train.py

Everything here may be edited; prepare.py may not. Without a GPU all sizes shrink, for tests.
"""

import torch
import torch.nn.functional as F
from torch import nn

from prepare import DEVICE, GPU, HALF, VOCAB, clock, compiled, note, shrunk, summary, train_text, validate

# ---- what to turn --------------------------------------------------------------------------------
CTX = 512  # symbols that the model sees
BATCH = 512  # rows per step
WIDTH = 1024  # of the residual stream
DEPTH = 4  # blocks
HEADS = 8  # per block
MLP_RATIO = 4  # hidden units of the MLP per unit of width
ACTIVATION = "gelu"  # gelu | relu | relu2 | silu
INIT_SD = 0.02  # of every weight matrix
DROPOUT = 0.0  # on what each half block adds
OPTIMIZER = "adamw"  # adamw | sgd
LR = 0.0003  # step size
BETA1 = 0.9  # momentum
BETA2 = 0.999  # of the squared gradients
WEIGHT_DECAY = 0.1  # adamw only
CLIP = 1.0  # norm of the gradient; 0 = off
WARMUP = 0.0  # share of the budget in which the step size rises
WARMDOWN = 0.0  # share of the budget in which it falls to zero
ROWS = 128  # that go through the model at once; BATCH is made of several such parts

width, depth, context = shrunk(WIDTH, 16), shrunk(DEPTH, 2), shrunk(CTX, 16)
rows_at_once = shrunk(min(ROWS, BATCH), 64)
parts = max(1, BATCH // ROWS)


# ---- the model -----------------------------------------------------------------------------------
def activate(x: torch.Tensor) -> torch.Tensor:
    return F.relu(x).square() if ACTIVATION == "relu2" else getattr(F, ACTIVATION)(x)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, length, _ = x.shape
        q, k, v = self.qkv(x).view(rows, length, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(rows, length, width))


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(width, MLP_RATIO * width)
        self.down = nn.Linear(MLP_RATIO * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(activate(self.up(x)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.mlp = Attention(), MLP()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + F.dropout(self.attention(self.norm1(x)), DROPOUT, self.training)
        return x + F.dropout(self.mlp(self.norm2(x)), DROPOUT, self.training)


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, width)
        self.position = nn.Embedding(context, width)
        self.blocks = nn.ModuleList([Block() for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCAB, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=INIT_SD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        self.head.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Symbols [rows, length ≤ context] to logits [rows, length, VOCAB]."""
        x = self.embed(tokens)
        x = x + self.position.weight[: tokens.shape[1]]
        x = x.to(HALF)
        for block in self.blocks:
            x = block(x)
        found = self.head(self.norm(x)).float()
        return found


# ---- the optimizer -------------------------------------------------------------------------------
def build_optimizers(model: GPT) -> list[torch.optim.Optimizer]:
    parameters = list(model.parameters())
    if OPTIMIZER == "sgd":
        return [torch.optim.SGD(parameters, lr=LR, momentum=BETA1, fused=True)]
    return [torch.optim.AdamW(parameters, lr=LR, betas=(BETA1, BETA2), weight_decay=WEIGHT_DECAY, fused=True)]


def schedule(progress: float) -> float:
    """Factor on the step size; ``progress`` runs from 0 to 1."""
    if progress < WARMUP:
        return max(progress, 0.01) / WARMUP
    return min(1.0, (1.0 - progress) / WARMDOWN) if WARMDOWN else 1.0


# ---- the loop ------------------------------------------------------------------------------------
def batch(text: torch.Tensor) -> torch.Tensor:
    """Parts of rows that start anywhere, int64 [rows_at_once, context + 1]."""
    rows = torch.randint(len(text), (rows_at_once, 1), device=DEVICE)
    starts = torch.randint(text.shape[1] - context, (rows_at_once, 1), device=DEVICE)
    return text[rows, starts + torch.arange(context + 1, device=DEVICE)].long()


@compiled
def loss_of(model: GPT, rows: torch.Tensor) -> torch.Tensor:
    """Nats per symbol, as this part's share of the batch."""
    with torch.autocast(DEVICE, HALF, enabled=GPU):
        logits = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()) / parts


def predict(model: GPT, inputs: torch.Tensor) -> torch.Tensor:
    """Symbols [rows, any length] to logits [rows, length, VOCAB], a window of the context at a time."""
    rows, length = inputs.shape
    windows = F.pad(inputs, (0, -length % context)).reshape(-1, context)
    with torch.autocast(DEVICE, HALF, enabled=GPU):
        return model(windows).view(rows, -1, VOCAB)[:, :length]


def main() -> None:
    text = train_text()
    with torch.device(DEVICE):
        model = GPT()
    optimizers = build_optimizers(model)
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    loss_of(model, batch(text)).backward()  # before the clock starts, so that it does not see what is compiled
    model.zero_grad()
    while not clock.done():
        factor = schedule(clock.progress())
        for optimizer, initial in zip(optimizers, rates):
            for group, rate in zip(optimizer.param_groups, initial):
                group["lr"] = rate * factor
        nats = torch.zeros((), device=DEVICE)
        for _ in range(parts):
            loss = loss_of(model, batch(text))
            loss.backward()
            nats += loss.detach()
        if CLIP:
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad()
        note(nats)
    model.eval()
    computing = sum(p.numel() for p in model.blocks.parameters()) + model.head.weight.numel()
    summary(
        val_bpb=validate(lambda inputs: predict(model, inputs)),
        symbols=clock.steps * parts * rows_at_once * context,
        flops_per_symbol=6 * computing + 12 * depth * width * context,
        parameters=sum(p.numel() for p in model.parameters()),
    )


if __name__ == "__main__":
    main()
