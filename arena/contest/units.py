"""The unit of a task's gains in words, for readers who do not know the metric."""

from __future__ import annotations

from trainer.task import Task

METRICS = {
    "nll": "nll (negative log-likelihood, a loss)",
    "rmse": "rmse (root mean square error)",
    "bits_per_byte": "number of bits per byte (a loss)",
}
UNITS = {
    "nats": "nats (a loss in natural logarithms)",
    "SD": "SD (standard deviations of what is predicted)",
    "of the reference's": "shares of the reference's time",
}


def unit_sentence(task: Task) -> str:
    """``Gain is in nats …: by how much the nll … of the final script is lower.``"""
    metric, unit = METRICS.get(task.metric, task.metric), UNITS.get(task.unit, task.unit)
    return f"Gain is in {unit}: by how much the {metric} of the final script is {task.direction}."
