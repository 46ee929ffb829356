"""A GPT in plain Python: matrices that know their gradients, the forward pass, and the file that holds a model.

A matrix is a list of rows of floats. The tape remembers how each result hands its gradient on.
"""

import json
import math
from operator import mul


class Matrix:
    """Rows of floats; after `backward` their gradient."""

    def __init__(self, rows):
        self.rows, self.grad = rows, None

    def add_grad(self, grad):
        self.grad = grad if self.grad is None else plus(self.grad, grad)


class Tape:
    """The results so far and the functions that hand their gradients on, in order; empty unless it is on."""

    on, made = False, []


def result(rows, back):
    """A matrix that was computed from others; ``back`` takes its gradient and adds to theirs."""
    found = Matrix(rows)
    if Tape.on:
        Tape.made.append((found, back))
    return found


def backward():
    """Compute all gradients, from the last result to the first; this empties the tape."""
    while Tape.made:
        found, back = Tape.made.pop()
        back(found.grad)


def times(a, b):
    """The dot product of each row of ``a`` with each row of ``b``."""
    return [[sum(map(mul, one, two)) for two in b] for one in a]


def transposed(rows):
    return list(zip(*rows, strict=True))


def plus(a, b):
    return [[one + two for one, two in zip(*rows, strict=True)] for rows in zip(a, b, strict=True)]


def lookup(table, numbers):
    """A row of the table for each number."""

    def back(grad):
        total = [[0.0] * len(row) for row in table.rows]
        for number, row in zip(numbers, grad, strict=True):
            total[number] = [one + two for one, two in zip(total[number], row, strict=True)]
        table.add_grad(total)

    return result([table.rows[number] for number in numbers], back)


def linear(x, weight):
    def back(grad):
        x.add_grad(times(grad, transposed(weight.rows)))
        weight.add_grad(times(transposed(grad), transposed(x.rows)))

    return result(times(x.rows, weight.rows), back)


def add(x, y):
    def back(grad):
        x.add_grad(grad)
        y.add_grad(grad)

    return result(plus(x.rows, y.rows), back)


def norm(x):
    """Each row divided by its root mean square (Zhang and Sennrich, 2019)."""
    scales = [(sum(map(mul, row, row)) / len(row) + 1e-5) ** -0.5 for row in x.rows]
    rows = [[one * scale for one in row] for row, scale in zip(x.rows, scales, strict=True)]

    def back(grad):
        found = []
        for g, row, scale in zip(grad, rows, scales, strict=True):
            along = sum(map(mul, g, row)) / len(row)
            found.append([(a - b * along) * scale for a, b in zip(g, row, strict=True)])
        x.add_grad(found)

    return result(rows, back)


def activate(x, squared):
    """The positive part of each number, or its square."""
    rows = [[max(0.0, one) for one in row] for row in x.rows]

    def back(grad):
        slopes = [[2 * one if squared else float(one > 0) for one in row] for row in rows]
        x.add_grad([list(map(mul, *both)) for both in zip(grad, slopes, strict=True)])

    return result([[one * one for one in row] for row in rows] if squared else rows, back)


def softmax(row):
    largest = max(row)
    powers = [math.exp(one - largest) for one in row]
    total = sum(powers)
    return [power / total for power in powers]


def attention(x, length, heads):
    """Rows of queries, keys and values, window after window of ``length`` rows: each mixes the values up to its own."""
    width = len(x.rows[0]) // 3
    size, mixed, kept = width // heads, [[] for _ in x.rows], []
    for start in range(0, len(x.rows), length):
        window = x.rows[start : start + length]
        for head in range(0, width, size):
            q, k, v = ([row[at : at + size] for row in window] for at in (head, width + head, 2 * width + head))
            q, columns = [[one * size**-0.5 for one in row] for row in q], transposed(v)
            shares = [softmax([sum(map(mul, one, two)) for two in k[: at + 1]]) for at, one in enumerate(q)]
            shares = [share + [0.0] * (length - len(share)) for share in shares]
            for row, share in zip(mixed[start : start + length], shares, strict=True):
                row += [sum(map(mul, share, column)) for column in columns]
            kept.append((start, head, q, k, v, shares))

    def back(grad):
        found = [[0.0] * (3 * width) for _ in x.rows]
        for start, head, q, k, v, shares in kept:
            out = [row[head : head + size] for row in grad[start : start + length]]
            scores = []
            for g, share in zip(out, shares, strict=True):
                wanted = [sum(map(mul, g, two)) for two in v]
                mean = sum(map(mul, share, wanted))
                scores.append([p * (one - mean) for p, one in zip(share, wanted, strict=True)])
            dq = [[one * size**-0.5 for one in row] for row in times(scores, transposed(k))]
            dk, dv = times(transposed(scores), transposed(q)), times(transposed(shares), transposed(out))
            for row, *parts in zip(found[start : start + length], dq, dk, dv, strict=True):
                for at, part in zip((head, width + head, 2 * width + head), parts, strict=True):
                    row[at : at + size] = part
        x.add_grad(found)

    return result(mixed, back)


class Model:
    """A GPT. ``shape``: context, width, depth, heads, squared (the activation); ``weights``: matrices by name."""

    def __init__(self, shape, weights):
        self.shape, self.weights = shape, weights

    def logits(self, windows):
        """A row of logits for each symbol of windows of equal length, at most the context, one after the other."""
        length, at = len(windows[0]), self.weights
        x = lookup(at["embed"], [symbol for window in windows for symbol in window])
        x = add(x, lookup(at["position"], list(range(length)) * len(windows)))
        for block in range(self.shape["depth"]):
            mixed = attention(linear(norm(x), at[f"{block}.qkv"]), length, self.shape["heads"])
            x = add(x, linear(mixed, at[f"{block}.out"]))
            hidden = activate(linear(norm(x), at[f"{block}.up"]), self.shape["squared"])
            x = add(x, linear(hidden, at[f"{block}.down"]))
        return linear(norm(x), at["embed"])

    def save(self, path):
        with open(path, "w") as file:
            json.dump({"shape": self.shape, "weights": {name: one.rows for name, one in self.weights.items()}}, file)


def load(path):
    """The model in a file: numbers and names, nothing that could be executed."""
    with open(path) as file:
        data = json.load(file)
    return Model(data["shape"], {name: Matrix(rows) for name, rows in data["weights"].items()})


def cross_entropy(logits, targets):
    """Mean loss in nats; leaves its gradient in ``logits``."""
    shares = [softmax(row) for row in logits.rows]
    loss = -sum(math.log(share[target]) for share, target in zip(shares, targets, strict=True)) / len(targets)
    for share, target in zip(shares, targets, strict=True):
        share[target] -= 1.0
    logits.grad = [[one / len(targets) for one in share] for share in shares]
    return loss
