"""Checkpoints of a training, and going on from one with the bits of a run without a break.

`Keeper` is asked after each slice of steps. What trains gives it its state as arrays, and gets it
back; the epoch, and the sums over its steps so far, say where in the order of the rows it was.
`origin` is what a result tells of the run that made it.
"""

from softstep.model.resume.fingerprint import KINDS, about, are_others, of_rows
from softstep.model.resume.keeper import Keeper, Resumable, fill, opened, seed, whole
from softstep.model.resume.origin import Clock, origin_of
from softstep.model.resume.store import refuse_file, refuse_used

__all__ = [
    "KINDS",
    "Clock",
    "Keeper",
    "Resumable",
    "about",
    "are_others",
    "fill",
    "of_rows",
    "opened",
    "origin_of",
    "refuse_file",
    "refuse_used",
    "seed",
    "whole",
]
