"""Scores of what models say of rows: one table of them, and what `scoring=` asks for.

A score is a row of `table.py`; nothing here knows of banks, folds or blocks of rows.
"""

from softstep.model.scores.answers import Answers
from softstep.model.scores.asked import Asked, asked
from softstep.model.scores.counts import Counts
from softstep.model.scores.scorers import number
from softstep.model.scores.table import ALWAYS, SCORES, Score, find

__all__ = ["ALWAYS", "SCORES", "Answers", "Asked", "Counts", "Score", "asked", "find", "number"]
