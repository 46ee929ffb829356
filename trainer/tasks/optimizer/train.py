"""An optimizer for a network that stays elsewhere: 400 steps, one gradient each. By hand: `python train.py`."""

import numpy as np

import prepare

# rule
OPTIMIZER = "sgd"  # sgd, nesterov, adamw, rmsprop or adagrad
LR = 0.05  # step size
MOMENTUM = 0.5  # of sgd, nesterov and rmsprop
BETA1 = 0.9  # of adamw: of the mean gradient
BETA2 = 0.999  # of adamw and rmsprop: of the mean square
EPS = 1e-8  # added to the root of the mean square
# schedule
WARMUP = 0.0  # first share of the steps, in which the step size rises
WARMDOWN = 0.0  # last share, in which it falls to 0
SHAPE = "linear"  # of that fall: linear, cosine or sqrt
# regularisation
WEIGHT_DECAY = 0.01  # share of the weights taken off, times the step size
CLIP = 1.0  # largest norm of all gradients together; 0 = off


def schedule(progress):
    """Factor on the step size; `progress` runs from 0 to 1."""
    if progress < WARMUP:
        return max(progress, 0.01) / WARMUP
    if progress <= 1.0 - WARMDOWN:
        return 1.0
    left = (1.0 - progress) / WARMDOWN
    return {"linear": left, "cosine": 0.5 - 0.5 * np.cos(np.pi * left), "sqrt": left**0.5}[SHAPE]


def clipped(gradients):
    norm = np.sqrt(sum(float(np.vdot(g, g)) for g in gradients))
    return [g * np.float32(CLIP / norm) for g in gradients] if 0 < CLIP < norm else gradients


def direction(step, w, g, first, second):
    """What to subtract from the array `w`, for a step size of 1; `first` and `second` are its running moments."""
    if OPTIMIZER == "adamw":
        first += (1 - BETA1) * (g - first)
        second += (1 - BETA2) * (g * g - second)
        mean, square = first / (1 - BETA1 ** (step + 1)), second / (1 - BETA2 ** (step + 1))
        return mean / (np.sqrt(square) + EPS)
    if OPTIMIZER == "adagrad":
        second += g * g
        return g / (np.sqrt(second) + EPS)
    if OPTIMIZER == "rmsprop":
        second += (1 - BETA2) * (g * g - second)
        g = g / (np.sqrt(second) + EPS)
    first *= MOMENTUM
    first += g
    return g + MOMENTUM * first if OPTIMIZER == "nesterov" else first


def optimizer(shapes, steps):
    """What makes new weights out of the old ones and their gradients, to be called for each of `steps` steps.

    All are lists of float32 arrays of the given shapes: matrices [features in, features out] and biases [features out]
    by turns, from the inputs to the logits. The weights of the last call are scored. State may be of any kind.
    """
    first = [np.zeros(shape, np.float32) for shape in shapes]
    second = [np.zeros(shape, np.float32) for shape in shapes]

    def update(step, weights, gradients):
        rate = LR * schedule(step / steps)
        gradients = clipped(gradients)
        moves = [direction(step, *arrays) for arrays in zip(weights, gradients, first, second)]
        weights = [(1 - rate * WEIGHT_DECAY) * w - rate * move for w, move in zip(weights, moves)]
        return weights

    return update


def main():
    prepare.train(optimizer)


if __name__ == "__main__":
    main()
