"""The properties of a node that decide whether it may run jobs."""

from __future__ import annotations

import socket
from dataclasses import dataclass


@dataclass(frozen=True)
class NodeFacts:
    """The facts of one machine. Experiments are only compared within one hardware class and one set of versions."""

    host: str
    hardware: str
    metaloop: str
    torch: str

    def unfit(self, hardware: str, other: NodeFacts) -> str:
        """Why jobs for this hardware class, from the driver ``other``, cannot run here; empty if they can."""
        if self.hardware != hardware:
            return f"its hardware class is {self.hardware}, the study's is {hardware}"
        for name in ("metaloop", "torch"):
            there, here = getattr(self, name), getattr(other, name)
            if there != here:
                return f"it has {name} {there}, this machine has {here}"
        return ""


def facts() -> NodeFacts:
    """The facts of this machine."""
    from importlib.metadata import version

    from trainer.gpu import hardware_class

    return NodeFacts(socket.gethostname(), hardware_class(), version("metaloop"), version("torch"))
