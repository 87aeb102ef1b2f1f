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


def say_what_fell_short(solution: Solution, l2: Array, C: Array, optimum: Optimum) -> None:
    """Warn of heads that stopped before they were near enough, and of a history cut short.

    l2: (h,). C: (h,), what l2 was given as; NaN where it was given itself.
    """
    if solution.history < HISTORY:
        warn(
            f"memory for {solution.history} pairs of L-BFGS's history, not {HISTORY}: more steps "
            "may be needed; fewer heads at a time have longer ones"
        )
    short = np.flatnonzero(~solution.converged)
    if not len(short):
        return
    worst = _worst(solution, short)
    given = f"l2={l2[worst]:.3g}" if np.isnan(C[worst]) else f"C={C[worst]:.3g}"
    cure = _cure(solution, short, optimum)
    warn(
        f"{len(short)} of {len(l2)} heads stopped short of tol={optimum.tol:g}: of the one with "
        f"{given}, {_reached(solution, worst)}; {cure}",
        _category(),
    )


def _worst(solution: Solution, short: Array) -> int:
    """Of these heads the one that is farthest from its optimum, as far as is known."""
    relative = solution.bound[short] / np.maximum(solution.objective[short], np.finfo(float).tiny)
    return int(short[np.argmax(np.nan_to_num(relative, nan=np.inf))])


def _reached(solution: Solution, k: int) -> str:
    """Where head k is."""
    if np.isnan(solution.objective[k]):
        return "nothing is known of its weights" if solution.n_iter[k] else "no step was taken"
    if np.isnan(solution.bound[k]):
        return f"its gradient norm is {solution.gradient_norm[k]:.2g}, with no bound"
    return (
        f"its objective is {solution.objective[k]:.6g}, proven to be at most "
        f"{solution.bound[k]:.2g} above the least"
    )


def _cure(solution: Solution, short: Array, optimum: Optimum) -> str:
    """What would take these heads further."""
    if solution.interrupted:
        return "it was interrupted"
    if solution.stopped:
        return "the callback stopped it"
    if solution.n_iter[short].max() >= optimum.max_iter:
        return f"scale the features, or raise max_iter={optimum.max_iter}"
    return "scale the features, or raise tol"
