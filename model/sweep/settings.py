"""The settings of a SoftmaxSweep, all checked at once, and the settings that it tries."""

from dataclasses import dataclass
from typing import Any, Self

from softstep.model import blocks, inputs
from softstep.model.optimum.settings import Optimum
from softstep.model.regression import SoftmaxRegression
from softstep.model.settings import Settings
from softstep.model.sweep import data, folds, grid


@dataclass(frozen=True)
class SweepSettings:
    """grid: what each entry sets. shared: what all have in common, and what the first sets.
    optimum: of solver="lbfgs"; None with "sgd". refit, halving: as the sweep's."""

    grid: list[dict[str, Any]]
    shared: Settings
    optimum: Optimum | None
    refit: str
    halving: bool

    @classmethod
    def of(cls, sweep: Any) -> Self:
        """Those of a SoftmaxSweep.

        Raises:
            TypeError, ValueError: a setting, also one that is not kept here, is not as described.
        """
        optimum = Optimum.of(sweep)
        entries = grid.configurations(sweep.param_grid, sweep.solver)
        inputs.choice("bootstrap", sweep.bootstrap, folds.BOOTSTRAPS)
        data.split_count(sweep)
        if sweep.memory is not None:
            blocks.size_in_bytes(sweep.memory)
        shared, *_ = [Settings.of(lone(sweep, entry)) for entry in entries]
        return cls(
            grid=entries,
            shared=shared,
            optimum=optimum,
            refit=grid.judged_by(sweep.refit, entries),
            halving=inputs.flag("halving", sweep.halving),
        )


def lone(sweep: Any, entry: dict[str, Any]) -> SoftmaxRegression:
    """The SoftmaxRegression that would train this entry of the grid alone, seeing all of X."""
    own = SoftmaxRegression().get_params()
    shared = {name: value for name, value in sweep.get_params().items() if name in own}
    shared |= {name: value for name, value in entry.items() if name != "features"}
    return SoftmaxRegression(**shared)
