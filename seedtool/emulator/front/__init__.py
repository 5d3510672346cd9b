"""The emulator's HTTP side: requests in, answers, faults and counters out."""

from seedtool.emulator.front.application import Transportable, application
from seedtool.emulator.front.faults import Faults
from seedtool.emulator.front.signature import Key

__all__ = ["Faults", "Key", "Transportable", "application"]
