"""The settings of `solver="lbfgs"`, and what does not go with it."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from softstep.model import inputs

SOLVERS = ("sgd", "lbfgs")
OF_SGD = (  # settings that are left at their defaults with lbfgs
    "learning_rate",
    "batch_size",
    "epochs",
    "max_steps",
    "momentum",
    "schedule",
    "eval_every",
    "patience",
    "halving",
)


@dataclass(frozen=True)
class Optimum:
    """tol: how near to the least objective, relative to it. max_iter: steps of a head at most."""

    tol: float
    max_iter: int

    @classmethod
    def of(cls, model: Any) -> Self | None:
        """Those of an estimator with `solver="lbfgs"`, checked; None with "sgd".

        Raises:
            TypeError, ValueError: a setting is not as described, or of the other solver.
        """
        solver = inputs.choice("solver", model.solver, SOLVERS)
        tol = inputs.number("tol", model.tol, above=0)
        max_iter = inputs.integer("max_iter", model.max_iter, least=1)
        if model.C is not None:
            inputs.number("C", model.C, above=0)
        if solver == "sgd":
            if model.C is not None:
                raise ValueError("C is a setting of solver='lbfgs': with solver='sgd' give l2")
            return None
        if model.C is not None and model.get_params().get("l2"):
            raise ValueError("C and l2 both set the weight of ‖W‖²: give one of them")
        defaults = type(model)._defaults()
        for name in OF_SGD:
            if name in defaults and getattr(model, name) != defaults[name]:
                raise ValueError(f"{name} is a setting of solver='sgd': leave it out with 'lbfgs'")
        return cls(tol, max_iter)


def refuse_of_sgd(**given: Any) -> None:
    """Raise ValueError if one of these is given: arguments of `fit` that go with "sgd" alone."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} goes with solver='sgd': leave it out with 'lbfgs'")


def refuse_kept_tasks(checkpoint: Any) -> None:
    """Raise ValueError if the state is to be kept of a bank that an executor's tasks solve."""
    if checkpoint is not None:
        raise ValueError(
            "checkpoint does not go with solver='lbfgs' by an executor: leave one of them out"
        )


def l2_of(C: Any, total_weight: Any, classes: Any) -> Any:
    """The l2 that scikit-learn's C is: its objective is C Σ w L + ½‖W‖², ours (1/Σw) Σ w L + …

    With two classes scikit-learn has one column of weights, the difference of our two, whose
    ‖W‖² is half of that.

    Args:
        C: above 0. total_weight: Σ w of the head's rows, before any scaling. classes: how many.
            All are numbers or arrays.

    Raises:
        ValueError: float64 does not hold it.
    """
    with np.errstate(all="ignore"):
        l2 = np.where(np.equal(classes, 2), 2, 1) / np.multiply(C, total_weight)
    lost = (l2 == 0) | np.isinf(l2)
    if lost.any():
        value, weight = (np.broadcast_to(x, l2.shape)[lost][0] for x in (C, total_weight))
        raise ValueError(
            f"C={value:g} with rows of weight {weight:g} in all is an l2 of {l2[lost][0]:g}: "
            "give a C that is nearer to 1"
        )
    return l2
