"""Three blobs in the plane, two coordinates each. Without NumPy, whose import would take longer than all the rest."""

import random
import sys
from array import array
from pathlib import Path

ROWS = 300
CENTRES = ((2.0, 0.0), (0.0, 2.0), (2.0, 2.0))


def make(split: str, seed: int, out: Path) -> None:
    rng = random.Random(seed)
    targets = [rng.randrange(3) for _ in range(ROWS)]
    inputs = [rng.gauss(along, 0.7) for target in targets for along in CENTRES[target]]
    write(out / "inputs.npy", "<f4", (ROWS, 2), array("f", inputs))
    write(out / "targets.npy", "<i8", (ROWS,), array("q", targets))


def write(path: Path, kind: str, shape: tuple[int, ...], numbers: array) -> None:
    """A file as numpy.save writes it."""
    assert sys.byteorder == "little"
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    header = header.ljust(117) + "\n"  # what comes before the numbers has 128 bytes
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + numbers.tobytes())
