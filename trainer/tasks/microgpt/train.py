"""A GPT in pure Python: as few bits per byte as a CPU-second and a half allow, with nothing to install.

    python train.py

Everything here may be edited; prepare.py may not. The trainer calls ``load``, ``logits`` and ``step`` on text of
the same language that this file never sees. A matrix is a list of rows of floats; the tape remembers, matrix by matrix,
how a gradient is handed on.
"""

import math
import random
from operator import mul

from prepare import SEED, VOCAB, clock, load_train, restore, save, summary, validate

# ---- what to turn --------------------------------------------------------------------------------
CTX = 16  # symbols that the model sees
BATCH = 4  # rows per step
WIDTH = 16  # of the residual stream
DEPTH = 1  # blocks
HEADS = 4  # per block
MLP_RATIO = 4  # hidden units of the MLP per unit of width
ACTIVATION = "gelu"  # gelu | relu | relu2 | silu
INIT_SD = 0.05  # of every weight matrix
OPTIMIZER = "adamw"  # adamw | sgd
LR = 0.003  # step size
BETA1 = 0.9  # momentum
BETA2 = 0.999  # of the squared gradients
WEIGHT_DECAY = 0.1  # adamw only
CLIP = 1.0  # norm of the gradient; 0 = off
WARMUP = 0.0  # share of the budget in which the step size rises
WARMDOWN = 0.0  # share of the budget in which it falls to zero


# ---- matrices that know their gradient -----------------------------------------------------------
class Matrix:
    """Rows of floats; after `backward` the gradient of the loss by each of them."""

    __slots__ = ("grad", "rows")

    def __init__(self, rows):
        self.rows, self.grad = rows, None

    def add_grad(self, grad):
        self.grad = grad if self.grad is None else plus(self.grad, grad)


class Tape:
    """What was made of what, in order; nothing is remembered unless it is on."""

    on, made = False, []


def result(rows, back):
    """A matrix made of others; ``back`` takes its gradient and gives them theirs."""
    found = Matrix(rows)
    if Tape.on:
        Tape.made.append((found, back))
    return found


def backward():
    """From the last matrix to the first, which empties the tape."""
    while Tape.made:
        found, back = Tape.made.pop()
        back(found.grad)


def times(a, b):
    """The dot product of each row of ``a`` with each row of ``b``."""
    return [[sum(map(mul, one, two)) for two in b] for one in a]


def turned(rows):
    return list(zip(*rows))


def plus(a, b):
    return [[one + two for one, two in zip(*rows)] for rows in zip(a, b)]


# ---- what a GPT is made of -----------------------------------------------------------------------
def lookup(table, symbols):
    """A row of the table for each symbol."""

    def back(grad):
        total = [[0.0] * len(row) for row in table.rows]
        for symbol, row in zip(symbols, grad):
            total[symbol] = [one + two for one, two in zip(total[symbol], row)]
        table.add_grad(total)

    return result([table.rows[symbol] for symbol in symbols], back)


def linear(x, weight):
    def back(grad):
        x.add_grad(times(grad, turned(weight.rows)))
        weight.add_grad(times(turned(grad), turned(x.rows)))

    return result(times(x.rows, weight.rows), back)


def add(x, y):
    def back(grad):
        x.add_grad(grad)
        y.add_grad(grad)

    return result(plus(x.rows, y.rows), back)


def norm(x):
    """Each row over its root mean square (Zhang and Sennrich, 2019)."""
    scales = [(sum(map(mul, row, row)) / len(row) + 1e-5) ** -0.5 for row in x.rows]
    rows = [[one * scale for one in row] for row, scale in zip(x.rows, scales)]

    def back(grad):
        found = []
        for g, row, scale in zip(grad, rows, scales):
            along = sum(map(mul, g, row)) / len(row)
            found.append([(a - b * along) * scale for a, b in zip(g, row)])
        x.add_grad(found)

    return result(rows, back)


def sigmoid(x):
    return 0.5 + 0.5 * math.tanh(0.5 * x)


def activate(x):
    """Value and slope of the activation, number by number."""
    rate = {"gelu": 1.702, "silu": 1.0}.get(ACTIVATION)
    if rate:
        gates = [[sigmoid(rate * one) for one in row] for row in x.rows]
        rows = [[one * gate for one, gate in zip(*both)] for both in zip(x.rows, gates)]
    else:
        rows = [[one if one > 0 else 0.0 for one in row] for row in x.rows]
    if ACTIVATION == "relu2":
        rows = [[one * one for one in row] for row in rows]

    def back(grad):
        if rate:
            slopes = [[s * (1 + rate * v * (1 - s)) for v, s in zip(*both)] for both in zip(x.rows, gates)]
        elif ACTIVATION == "relu2":
            slopes = [[2 * one if one > 0 else 0.0 for one in row] for row in x.rows]
        else:
            slopes = [[1.0 if one > 0 else 0.0 for one in row] for row in x.rows]
        x.add_grad([list(map(mul, *both)) for both in zip(grad, slopes)])

    return result(rows, back)


def softmax(row):
    top = max(row)
    found = [math.exp(one - top) for one in row]
    total = sum(found)
    return [one / total for one in found]


def attention(x, windows):
    """Each row of ``x`` (query, key, value) mixes the values up to its own place.

    ``windows``: for each window all of its rows so far, of which the last ones are in ``x``.
    """
    size, count = WIDTH // HEADS, len(x.rows) // len(windows)
    mixed, kept = [[] for _ in x.rows], []
    for start, window in zip(range(0, len(x.rows), count), windows):
        for head in range(0, WIDTH, size):
            q, k, v = ([row[at : at + size] for row in window] for at in (head, WIDTH + head, 2 * WIDTH + head))
            before, columns = len(window) - count, turned(v)
            q = [[one * size**-0.5 for one in row] for row in q[before:]]
            shares = [softmax([sum(map(mul, one, two)) for two in k[: before + i + 1]]) for i, one in enumerate(q)]
            for row, share in zip(mixed[start : start + count], shares):
                row += [sum(map(mul, share, column)) for column in columns]
            kept.append((start, head, q, k, v, shares))

    def back(grad):
        found = [[0.0] * (3 * WIDTH) for _ in x.rows]
        for start, head, q, k, v, shares in kept:
            out = [row[head : head + size] for row in grad[start : start + count]]
            scores = []
            for i, (g, share) in enumerate(zip(out, shares)):
                wanted = [sum(map(mul, g, two)) for two in v[: i + 1]]
                mean = sum(map(mul, share, wanted))
                scores.append([p * (one - mean) for p, one in zip(share, wanted)] + [0.0] * (count - i - 1))
            shares = [share + [0.0] * (count - len(share)) for share in shares]
            dq = times(scores, turned([[one * size**-0.5 for one in row] for row in k]))
            dk, dv = times(turned(scores), turned(q)), times(turned(shares), turned(out))
            for row, *parts in zip(found[start : start + count], dq, dk, dv):
                for at, part in zip((head, WIDTH + head, 2 * WIDTH + head), parts):
                    row[at : at + size] = part
        x.add_grad(found)

    return result(mixed, back)


# ---- the model -----------------------------------------------------------------------------------
def matrix(rows, columns):
    return Matrix([[random.gauss(0.0, INIT_SD) for _ in range(columns)] for _ in range(rows)])


def build():
    model = {"embed": matrix(VOCAB, WIDTH)}
    model["position"] = matrix(CTX, WIDTH)
    for block in range(DEPTH):
        model[f"{block}.qkv"] = matrix(3 * WIDTH, WIDTH)
        model[f"{block}.out"] = matrix(WIDTH, WIDTH)
        model[f"{block}.up"] = matrix(MLP_RATIO * WIDTH, WIDTH)
        model[f"{block}.down"] = matrix(WIDTH, MLP_RATIO * WIDTH)
    return model


def forward(model, windows, past=None):
    """Logits, a row for each symbol of the windows one after the other; ``past`` if they only go on there."""
    symbols = [symbol for window in windows for symbol in window]
    length, count = past.length if past else 0, len(windows[0])
    places = list(range(length, length + count)) * len(windows)
    x = lookup(model["embed"], symbols)
    x = add(x, lookup(model["position"], places))
    for block in range(DEPTH):
        qkv = linear(norm(x), model[f"{block}.qkv"])
        new = [qkv.rows[start : start + count] for start in range(0, len(symbols), count)]
        x = add(x, linear(attention(qkv, past.add(block, new) if past else new), model[f"{block}.out"]))
        x = add(x, linear(activate(linear(norm(x), model[f"{block}.up"])), model[f"{block}.down"]))
    scores = linear(norm(x), model["embed"])
    return scores


def cross_entropy(logits, targets):
    """Mean nats, with its gradient left in ``logits``."""
    shares = [softmax(row) for row in logits.rows]
    loss = -sum(math.log(share[target]) for share, target in zip(shares, targets)) / len(targets)
    for share, target in zip(shares, targets):
        share[target] -= 1.0
    logits.grad = [[one / len(targets) for one in share] for share in shares]
    return loss


# ---- the optimizer -------------------------------------------------------------------------------
def schedule(progress):
    """Factor on the step size; ``progress`` runs from 0 to 1."""
    if progress < WARMUP:
        return max(progress, 0.01) / WARMUP
    return min(1.0, (1.0 - progress) / WARMDOWN) if WARMDOWN else 1.0


def clip(model):
    """Shorten the whole gradient to CLIP where it is longer."""
    if not CLIP:
        return
    total = math.sqrt(sum(sum(map(mul, row, row)) for weight in model.values() for row in weight.grad))
    if total > CLIP:
        for weight in model.values():
            weight.grad = [[one * CLIP / total for one in row] for row in weight.grad]


def update(weight, state, rate, steps):
    """One step of AdamW (Loshchilov and Hutter, 2019), or of momentum alone."""
    scale = math.sqrt(1 - BETA2**steps) / (1 - BETA1**steps)
    for row, grad, (mean, square) in zip(weight.rows, weight.grad, state):
        if OPTIMIZER == "sgd":
            mean[:] = [BETA1 * m + g for m, g in zip(mean, grad)]
            row[:] = [w - rate * m for w, m in zip(row, mean)]
            continue
        mean[:] = [BETA1 * m + (1 - BETA1) * g for m, g in zip(mean, grad)]
        square[:] = [BETA2 * s + (1 - BETA2) * g * g for s, g in zip(square, grad)]
        kept = 1 - rate * WEIGHT_DECAY
        row[:] = [w * kept - rate * scale * m / (math.sqrt(s) + 1e-8) for w, m, s in zip(row, mean, square)]
    weight.grad = None


# ---- the loop ------------------------------------------------------------------------------------
def batch(text):
    """Windows of the text, and the symbol that follows each of theirs."""
    starts = [random.randrange(len(text) - CTX) for _ in range(BATCH)]
    targets = [symbol for start in starts for symbol in text[start + 1 : start + CTX + 1]]
    return [text[start : start + CTX] for start in starts], targets


def main():
    random.seed(SEED)
    text = load_train()
    model = build()
    states = {name: [([0.0] * len(row), [0.0] * len(row)) for row in one.rows] for name, one in model.items()}
    Tape.on, losses = True, []
    while not clock.done():
        inputs, targets = batch(text)
        losses.append(cross_entropy(forward(model, inputs), targets))
        backward()
        clip(model)
        rate = LR * schedule(clock.progress())
        for name, weight in model.items():
            update(weight, states[name], rate, clock.steps)
    Tape.on = False
    save({name: weight.rows for name, weight in model.items()})
    recent = losses[-max(1, len(losses) // 10) :]
    summary(
        seconds=clock.seconds(),
        train_bpb=sum(recent) / len(recent) / math.log(2),
        val_bpb=validate(lambda rows: logits(model, rows)),
        symbols=clock.steps * BATCH * CTX,
        parameters=sum(len(row) for weight in model.values() for row in weight.rows),
    )


# ---- what the referee calls ----------------------------------------------------------------------
class Past:
    """What the symbols of each row's window have left behind so far: `step` computes the new one alone."""

    def __init__(self, rows):
        self.length, self.kept = 0, [[[] for _ in range(rows)] for _ in range(DEPTH)]

    def add(self, block, new):
        """The new rows of each window, after those that it has."""
        for window, rows in zip(self.kept[block], new):
            window += rows
        return self.kept[block]


def load(path):
    return {name: Matrix(rows) for name, rows in restore(path).items()}


def logits(model, inputs):
    """Symbols [rows][any length] to logits [rows][length][VOCAB], a window of CTX symbols at a time."""
    found = [[] for _ in inputs]
    for start in range(0, len(inputs[0]), CTX):
        windows = [row[start : start + CTX] for row in inputs]
        count, flat = len(windows[0]), forward(model, windows).rows
        for at, row in enumerate(found):
            row += flat[at * count : (at + 1) * count]
    return found


def step(model, past, symbols):
    """One symbol of each row [rows] to the logits of the next [rows][VOCAB], as `logits` has them, and the new past."""
    past = past if past and past.length < CTX else Past(len(symbols))
    found = forward(model, [[symbol] for symbol in symbols], past).rows
    past.length += 1
    return found, past


if __name__ == "__main__":
    main()
