"""What train.py may rely on and may not change: the number of neighbours, and a check by hand.

Launched by Metaloop, train.py has nothing to do as the main program: another process calls its `solve` and times it. By
hand (`python train.py` in this folder) `report` checks it on fresh inputs and times it against the reference.
"""

import os
import statistics
import time

NEIGHBOURS = 24
LAUNCHED = "METALOOP_TRAIN_CHECKPOINT" in os.environ
_TOLERANCE, _CALLS = 1e-3, 20


def report(solve):
    """By hand: largest error and time over the reference's, printed as `key: value` lines."""
    if LAUNCHED:
        return
    import data
    import numpy as np

    error, ratios = 0.0, []
    for seed in range(_CALLS):
        inputs = data.kernel_inputs(seed)
        seconds, results = [], []
        for function in (data.reference, solve):
            began = time.process_time()
            results.append(function([one.copy() for one in inputs]))
            seconds.append(time.process_time() - began)
        expected, found = results
        error = max(error, float((np.abs(found - expected) / (1.0 + np.abs(expected))).max()))
        ratios.append(seconds[1] / seconds[0])
    print(f"time: {statistics.median(ratios[1:]):.4f}")
    print(f"error: {error:.2e}{'' if error <= _TOLERANCE else ', too much'}")
