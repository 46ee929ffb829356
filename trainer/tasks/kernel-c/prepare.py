"""What train.py may rely on and may not change: where its C source goes, and a check by hand.

Launched by Metaloop, the checkpoint is the source. It is compiled in a sandbox of its own, and its `solve` is called and
timed in another. By hand (`python train.py` in this folder) the source is written to kernel.c, compiled by `cc` where
there is one, checked on fresh pictures and timed against reference.c.
"""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

LAUNCHED = "METALOOP_TRAIN_CHECKPOINT" in os.environ
SOURCE = Path(os.environ.get("METALOOP_TRAIN_CHECKPOINT", "kernel.c"))
_TOLERANCE, _CALLS = 1e-3, 20


def save(source, flags=(), **constants):
    """Write C source with the compiler's flags in its first line, and a `#define` for each constant.

    The compiler numbers the lines of `source` from its first one.
    """
    lines = [f"// flags: {' '.join(flags)}", *(f"#define {name} {value}" for name, value in constants.items())]
    SOURCE.write_text("\n".join([*lines, '#line 1 "kernel.c"', source.removeprefix("\n")]))


def report():
    """By hand: largest error and time over the reference's, printed as `key: value` lines."""
    if LAUNCHED:
        return
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        print("no C compiler here: neither gcc nor cc is on PATH")
        return
    import ctypes

    import data
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        functions = []
        for name, path in (("reference", Path(__file__).with_name("reference.c")), ("solve", SOURCE)):
            library = f"{folder}/{name}.so"
            flags = path.read_text().splitlines()[0].partition("flags:")[2].split()
            command = [compiler, *flags, "-std=gnu11", "-shared", "-fPIC", str(path), "-o", library, "-lm"]
            subprocess.run(command, check=True)
            functions.append(ctypes.CDLL(library).solve)
        error, ratios = 0.0, []
        for seed in range(_CALLS):
            inputs, seconds, results = data.kernel_inputs(seed), [], []
            for function in functions:
                result = np.empty(inputs[0].shape, np.float32)
                pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*inputs, result)]
                began = time.process_time()
                function(*pointers)
                seconds.append(time.process_time() - began)
                results.append(result)
            expected = data.reference(inputs)
            error = max(error, *(float(np.abs(found - expected).max()) for found in results))
            ratios.append(seconds[1] / seconds[0])
    print(f"time: {statistics.median(ratios[1:]):.4f}")
    print(f"milliseconds: {1000 * seconds[1]:.3f}")
    print(f"error: {error:.2e}{'' if error <= _TOLERANCE else ', too much'}")
