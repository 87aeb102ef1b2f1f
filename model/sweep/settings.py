"""The settings of a SoftmaxSweep, all checked at once, and the settings that it tries."""

from dataclasses import dataclass
from typing import Any, Self

from softstep.model import blocks, inputs
from softstep.model.optimum.settings import Optimum
from softstep.model.regression import SoftmaxRegression
from softstep.model.scores import Asked, asked
from softstep.model.settings import Settings
from softstep.model.sweep import data, folds, grid


@dataclass(frozen=True)
class SweepSettings:
    """grid: what each entry sets. shared: what all have in common, and what the first sets.
    optimum: of solver="lbfgs"; None with "sgd". asked: scores, and by which settings are ranked.
    halving, together: as the sweep's."""

    grid: list[dict[str, Any]]
    shared: Settings
    optimum: Optimum | None
    asked: Asked
    halving: bool
    together: bool

    @classmethod
    def of(cls, sweep: Any) -> Self:
        """Those of a SoftmaxSweep.

        Raises:
            TypeError, ValueError: a setting, also one that is not kept here, is not as described.
        """
        optimum = Optimum.of(sweep)
        entries = grid.configurations(sweep.param_grid, sweep.solver)
        inputs.choice("bootstrap", sweep.bootstrap, folds.BOOTSTRAPS)
        inputs.check_missing(sweep.missing)
        data.split_count(sweep)
        if sweep.memory is not None:
            blocks.size_in_bytes(sweep.memory)
        scores = asked(sweep.scoring, sweep.refit, {entry.get("loss", "mse") for entry in entries})
        if sweep.memory is not None and scores.of_estimators:
            raise ValueError(
                f"memory= reads rows in blocks, but scoring={scores.of_estimators[0]!r} is a "
                "function of an estimator and all its rows: choose scores that are built in"
            )
        shared, *_ = [Settings.of(lone(sweep, entry)) for entry in entries]
        return cls(
            grid=entries,
            shared=shared,
            optimum=optimum,
            asked=scores,
            halving=inputs.flag("halving", sweep.halving),
            together=inputs.flag("refit_together", sweep.refit_together),
        )


def lone(sweep: Any, entry: dict[str, Any]) -> SoftmaxRegression:
    """The SoftmaxRegression that would train this entry of the grid alone, seeing all of X."""
    own = SoftmaxRegression().get_params()
    shared = {name: value for name, value in sweep.get_params().items() if name in own}
    shared |= {name: value for name, value in entry.items() if name != "features"}
    return SoftmaxRegression(**shared)
