"""What a node tells of itself before it is given any work."""

from __future__ import annotations

import socket
from dataclasses import dataclass


@dataclass(frozen=True)
class NodeFacts:
    """Of one machine. Experiments are compared within one hardware class and one version of what computes them."""

    host: str
    hardware: str
    metaloop: str
    torch: str

    def unfit(self, hardware: str, other: NodeFacts) -> str:
        """Why jobs of that hardware class, given by ``other``, cannot run there; empty where they can."""
        if self.hardware != hardware:
            return f"it is {self.hardware}, this study is measured on {hardware}"
        for name in ("metaloop", "torch"):
            there, here = getattr(self, name), getattr(other, name)
            if there != here:
                return f"it has {name} {there}, here is {here}"
        return ""


def facts() -> NodeFacts:
    """Of this machine."""
    from importlib.metadata import version

    from trainer.hardware import hardware_class

    return NodeFacts(socket.gethostname(), hardware_class(), version("metaloop"), version("torch"))
