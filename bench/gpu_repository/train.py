"""A small character model on one GPU, in the manner of autoresearch: one file, a fixed time, one number at the end."""

import math
import time

import torch
import torch.nn.functional as F
from torch import nn

LR = 3e-4
WIDTH = 384
DEPTH = 6
BATCH = 128
CONTEXT = 256
WEIGHT_DECAY = 0.1
WARMUP = 0.05
TIME_BUDGET = 3.0  # seconds of training, without the compilation
SEED = 1
SYMBOLS = 64


def text(length: int, seed: int) -> torch.Tensor:
    """Symbols of a hidden chain of second order: each pair has four successors, some likelier than others."""
    law = torch.Generator(device="cuda").manual_seed(0)
    following = torch.randint(SYMBOLS, (SYMBOLS, SYMBOLS, 4), generator=law, device="cuda")
    chance = torch.Generator(device="cuda").manual_seed(seed)
    rows = 4096
    choices = torch.multinomial(
        torch.tensor([0.5, 0.25, 0.15, 0.1], device="cuda"), rows * length, replacement=True, generator=chance
    ).view(length, rows)
    symbols = torch.zeros(length, rows, dtype=torch.long, device="cuda")
    for at in range(2, length):
        symbols[at] = following[symbols[at - 2], symbols[at - 1], choices[at]]
    return symbols.T.contiguous()


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, length, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(rows, length, 3, 6, WIDTH // 6).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(rows, length, WIDTH))
        return x + self.mlp(self.norm2(x))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(SYMBOLS, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, SYMBOLS))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        x = self.embed(rows[:, :-1]) + self.place.weight
        return F.cross_entropy(self.head(self.blocks(x)).flatten(0, 1).float(), rows[:, 1:].flatten())


def main() -> None:
    torch.manual_seed(SEED)
    torch.set_float32_matmul_precision("high")
    train, valid = text(CONTEXT + 1, 1), text(CONTEXT + 1, 2)[:1024]
    model = Model().cuda()
    loss_of = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    began, steps, compiling = time.perf_counter(), 0, 0.0
    while (spent := time.perf_counter() - began - compiling) < TIME_BUDGET:
        part = spent / TIME_BUDGET
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1.0, part / max(WARMUP, 1e-9)) * 0.5 * (1 + math.cos(math.pi * part))
        with torch.autocast("cuda", torch.bfloat16):
            loss = loss_of(train[torch.randint(len(train), (BATCH,), device="cuda")])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        steps += 1
        if steps == 1:
            torch.cuda.synchronize()
            compiling = time.perf_counter() - began
        elif steps % 20 == 0:
            torch.cuda.synchronize()
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        bits = sum(model(rows).item() for rows in valid.split(128)) / len(valid.split(128)) / math.log(2)
    print(f"compile_seconds: {compiling:.1f}")
    print(f"training_seconds: {TIME_BUDGET:.1f}")
    print(f"peak_vram_mb: {torch.cuda.max_memory_allocated() / 2**20:.0f}")
    print(f"tokens_per_second: {steps * BATCH * CONTEXT / TIME_BUDGET:.0f}")
    print(f"val_bpb: {bits:.5f}")


if __name__ == "__main__":
    main()
