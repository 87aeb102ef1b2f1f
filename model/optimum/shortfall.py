"""What is said of heads that stopped before their optimum."""

import functools

import numpy as np

from softstep.kernels.checks import Array
from softstep.model.inputs.warnings import warn
from softstep.model.optimum.lbfgs import HISTORY
from softstep.model.optimum.settings import Optimum
from softstep.model.optimum.solve import Solution


class ConvergenceWarning(UserWarning):
    """A head stopped before its optimum. Scikit-learn's of that name too, where it is installed."""


@functools.cache
def _category() -> type[Warning]:
    try:
        from sklearn import exceptions
    except ImportError:
        return ConvergenceWarning
    theirs = exceptions.ConvergenceWarning
    return type("ConvergenceWarning", (ConvergenceWarning, theirs), {})


def say_what_fell_short(solution: Solution, l2: Array, optimum: Optimum) -> None:
    """Warn of heads that stopped before they were near enough, and of a history cut short."""
    if solution.history < HISTORY:
        warn(
            f"memory for {solution.history} pairs of L-BFGS's history, not {HISTORY}: more steps "
            "may be needed; fewer heads at a time have longer ones"
        )
    short = np.flatnonzero(~solution.converged)
    if not len(short):
        return
    warn(_shortfall(solution, l2, short, optimum), _category())


def _shortfall(solution: Solution, l2: Array, short: Array, optimum: Optimum) -> str:
    relative = solution.bound[short] / np.maximum(solution.objective[short], np.finfo(float).tiny)
    worst = short[np.argmax(np.nan_to_num(relative, nan=np.inf))]
    reached = (
        f"its gradient norm is {solution.gradient_norm[worst]:.2g}, with no bound"
        if np.isnan(solution.bound[worst])
        else f"its objective is {solution.objective[worst]:.6g}, proven to be at most "
        f"{solution.bound[worst]:.2g} above the least"
    )
    steps = int(solution.n_iter[short].max())
    cure = f"raise max_iter={optimum.max_iter}" if steps >= optimum.max_iter else "raise tol"
    return (
        f"{len(short)} of {len(l2)} heads stopped short of tol={optimum.tol:g}: of the one with "
        f"l2={l2[worst]:.3g}, {reached}; scale the features, or {cure}"
    )
