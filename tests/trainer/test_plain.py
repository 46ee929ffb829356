"""Numbers without NumPy: what NumPy wrote is read, and what is answered is checked by its shape."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from trainer.inside import plain


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["int64", "int32", "float64", "float32", "uint8"])
@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (0, 3), (2, 0)])
def test_what_numpy_wrote_is_read_as_nested_lists(kind: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(kind)
    assert plain.read(npy(array)) == array.tolist()


@pytest.mark.parametrize("array", [np.asfortranarray(np.ones((2, 3))), np.array([1 + 2j]), np.array(["a"])])
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="cannot read an array"):
        plain.read(npy(array))
    with pytest.raises(ValueError, match=r"not an \.npy file"):
        plain.read(b"nothing")


def test_answers_become_float32() -> None:
    answer = [[[1, 2.5], [3.0, -1e-3]], [[float("inf"), 0.1], [True, 7]]]
    found = np.frombuffer(plain.numbers(answer, (2, 2, 2), "logits"), np.float32)
    assert found.tobytes() == np.array(answer, np.float32).tobytes()


@pytest.mark.parametrize(
    ("answer", "shape"),
    [
        ([[1.0, 2.0]], r"\[1\], expected \[2, 2\]"),
        ([[1.0, 2.0], [3.0]], r"\[2, 1\], expected \[2, 2\]"),
        ([[1.0, 2.0, 3.0], [1.0]], r"\[2, 3\], expected \[2, 2\]"),
    ],
)
def test_another_shape_is_named(answer: Any, shape: str) -> None:
    with pytest.raises(ValueError, match=f"logits have shape {shape}"):
        plain.numbers(answer, (2, 2), "logits")


@pytest.mark.parametrize("answer", [[[1.0, "2"], [3.0, 4.0]], [1.0, 2.0], None])
def test_what_are_no_numbers_is_the_candidate_s_error(answer: Any) -> None:
    with pytest.raises(TypeError):
        plain.numbers(answer, (2, 2), "logits")
