"""The scores of a sweep: heads on the rows held out for them, and how much of it is luck.

`Judged` are heads with those rows, read in blocks. Scores that are means over rows, or come from
counts, are summed block by block for all heads; those that need all rows go through groups of heads
(`passes.py`). `Draws` are bootstraps of the held-out rows (`draws.py`).
"""

from softstep.model.sweep.scoring.draws import Draws, Winner
from softstep.model.sweep.scoring.estimators import Estimators
from softstep.model.sweep.scoring.judged import Judged, bytes_needed
from softstep.model.sweep.scoring.scoring import Scored, Scoring, refuse_missing

__all__ = [
    "Draws",
    "Estimators",
    "Judged",
    "Scored",
    "Scoring",
    "Winner",
    "bytes_needed",
    "refuse_missing",
]
