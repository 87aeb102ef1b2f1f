"""The settings of a SoftmaxRegression, all checked at once.

`fit` does so before anything else, commands before they read any rows.
"""

import operator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from softstep.kernels.backend import check_name
from softstep.model import inputs, views
from softstep.model.optimum.settings import Optimum
from softstep.model.trainer import INITS, SGDSettings

# What stays as it was checked, if it is still the same object; a dict of class weights need not.
UNCHANGING = (type(None), bool, int, float, str, np.generic, tuple, slice, np.random.RandomState)


@dataclass(frozen=True)
class Settings:
    """Those that a fit goes by.

    sgd: of the descent. optimum: of solver="lbfgs"; None with "sgd". epochs, max_steps: how long a
    descent goes on. eval_every, patience: when held-out rows are evaluated, and when it stops.
    """

    sgd: SGDSettings
    optimum: Optimum | None
    epochs: int
    max_steps: int | None
    eval_every: int | None
    patience: int | None

    @classmethod
    def of(cls, model: Any) -> Self:
        """Those of a SoftmaxRegression.

        Raises:
            TypeError, ValueError: a setting, also one that is not kept here, is not as described.
        """
        inputs.choice("init", model.init, INITS)
        inputs.integer("init_seed", model.init_seed, least=0, optional=True)
        inputs.check_seed("random_state", model.random_state)
        inputs.check_class_weight(model.class_weight)
        inputs.check_scale(model.feature_scale)
        inputs.flag("warm_start", model.warm_start)
        views.check(model.features)
        inputs.choice("scaling", model.scaling, views.SCALINGS)
        if model.backend is not None:
            check_name(model.backend)
        return cls(
            sgd=SGDSettings.of(model),
            optimum=Optimum.of(model),
            epochs=inputs.integer("epochs", model.epochs, least=1),
            max_steps=inputs.integer("max_steps", model.max_steps, least=1, optional=True),
            eval_every=inputs.integer("eval_every", model.eval_every, least=1, optional=True),
            patience=inputs.integer("patience", model.patience, least=1, optional=True),
        )

    @classmethod
    def again(cls, model: Any) -> Self:
        """The same; not checked anew if all are the objects that they were when they last were."""
        given = model._values()
        known, found = vars(model).get("_checked", ((), None))
        if found is not None and all(map(operator.is_, known, given)):
            return found  # type: ignore[no-any-return]
        settings = cls.of(model)
        if all(isinstance(value, UNCHANGING) for value in given):
            model._checked = given, settings
        return settings
