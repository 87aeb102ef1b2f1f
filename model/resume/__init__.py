"""Checkpoints of a training, and going on from one with the bits of a run without a break.

`Keeper` is asked after each slice of steps. What trains gives it its state as arrays, and gets it
back; the epoch, and the sums over its steps so far, say where in the order of the rows it was.
"""

from softstep.model.resume.fingerprint import about
from softstep.model.resume.keeper import Keeper, Resumable, fill, open_keeper, seed

__all__ = ["Keeper", "Resumable", "about", "fill", "open_keeper", "seed"]
