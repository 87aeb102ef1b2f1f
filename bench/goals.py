"""The project's goals, and what a run reached of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from softstep.bench.measure import OURS, Row


def worst(figures: list[float]) -> float:
    return min(figures)


def geometric_mean(figures: list[float]) -> float:
    return math.exp(sum(map(math.log, figures)) / len(figures))


@dataclass(frozen=True)
class Goal:
    """How many times as long as softstep a competitor takes; for softstep, its share of the peak.

    work: part of the case's name. threads: None means all cores. over: makes one figure of several
    cases.
    """

    suite: str
    work: str
    competitor: str
    required: float
    aim: float
    threads: int | None = None
    over: Callable[[list[float]], float] = worst

    def figure(self, rows: list[Row]) -> float | None:
        """The measured figure; None if it was not measured."""
        threads = self.threads or max((row.threads for row in rows), default=0)
        own = [
            row.share if self.competitor == OURS else row.ratio
            for row in rows
            if (row.suite, row.competitor, row.threads) == (self.suite, self.competitor, threads)
            and self.work in row.case
        ]
        measured = [figure for figure in own if figure is not None]
        return self.over(measured) if measured else None

    def verdict(self, figure: float | None) -> str:
        if figure is None:
            return "not measured"
        return "aim" if figure >= self.aim else "yes" if figure >= self.required else "NO"


GOALS = (
    Goal("a", "uint8", OURS, 0.55, 0.70, 1),
    Goal("a", "uint8", "JAX scan", 2.0, 2.0, 1),
    Goal("a", "uint8", "NumPy", 3.5, 3.5, 1),
    Goal("a", "float32", OURS, 0.45, 0.60, 1),
    Goal("a", "float32", "JAX scan", 1.9, 1.9, 1),
    Goal("a", "float32", "NumPy", 3.0, 3.0, 1),
    Goal("a", "uint8", "NumPy", 5, 7),
    Goal("a", "uint8", "torch autograd", 15, 20),
    Goal("a", "uint8", "DataLoader by rows", 22, 35),
    Goal("a", "uint8", "JAX scan", 4, 5),
    Goal("a", "float32", "NumPy", 2.8, 4.5),
    Goal("a", "float32", "torch autograd", 9, 16),
    Goal("a", "float32", "DataLoader by rows", 14, 24),
    Goal("a", "float32", "JAX scan", 2.8, 4.5),
    Goal("b", ">4 heads", OURS, 0.60, 0.75, 1),
    Goal("b", ">4 heads", "JAX scan", 1.2, 1.2, 1),
    Goal("b", ">16 heads", OURS, 0.75, 0.85, 1),
    Goal("b", ">16 heads", "JAX scan", 1.3, 1.3, 1),
    Goal("b", ">16 heads", "torch by hand", 1.4, 1.4, 1),
    Goal("b", ">52 heads", OURS, 0.82, 0.88, 1),
    Goal("b", ">52 heads", "JAX scan", 1.15, 1.15, 1),
    Goal("b", ">52 heads", "torch by hand", 1.2, 1.2, 1),
    Goal("b", ">16 heads", "JAX scan", 1.6, 2.2),
    Goal("b", ">16 heads", "torch autograd", 2.3, 3.2),
    Goal("b", ">16 heads", "torch head by head", 14, 20),
    Goal("b", ">52 heads", "JAX scan", 1.2, 1.4),
    Goal("b", ">52 heads", "torch by hand", 1.3, 1.4),
    Goal("b", ">52 heads", "torch autograd", 2.2, 2.8),
    Goal("b", ">52 heads", OURS, 0.70, 0.85),
    Goal("c", "", "NumPy", 1.1, 1.25, 1),
    Goal("c", "", "torch by hand", 1.1, 1.25, 1),
    Goal("c", "", "NumPy", 1.05, 1.25),
    Goal("c", "", "torch by hand", 1.1, 1.25),
    Goal("c", "", "torch autograd", 1.4, 1.4),
    Goal("c", "", "JAX scan", 1.1, 1.25),
    Goal("d", "", "NumPy", 1.0, 1.1, over=geometric_mean),
    Goal("d", "", "NumPy", 0.8, 1.0),
    Goal("e", "", "SciPy", 1.5, 3),
    Goal("e", "", "JAX", 1.0, 1.5),
    Goal("e", "", "torch", 1.0, 1.3),
    Goal("h", "", "LogisticRegression", 15, 40),
    Goal("i", "", "its epochs alone", 0.95, 1.0),
    Goal("k", "predict of 1 row", "scikit-learn", 1, 2),
    Goal("k", "partial_fit", "scikit-learn", 1, 2),
)
