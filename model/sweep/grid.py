"""The settings that a sweep tries."""

import itertools
from typing import Any

from softstep.model import inputs, views

KEYS = {  # by solver
    "sgd": ("learning_rate", "l2", "momentum", "loss", "init", "init_seed", "features", "scaling"),
    "lbfgs": ("l2", "C", "loss", "init", "init_seed", "features", "scaling"),
}


def configurations(param_grid: Any, solver: Any = "sgd") -> Any:
    """Every setting of the grid, a list of dicts of plain numbers and strings, and under "features"
    a range with its name (`views.in_grid`), which `Views.of` resolves.

    A dict stands for the product of its lists; a value that is no list is a list of one, so a dict
    of plain values is one exact setting. A list of dicts stands for all of theirs. The order is
    that of scikit-learn's ParameterGrid: the keys sorted, the last one running fastest.

    Raises:
        TypeError: neither a dict nor a list of dicts.
        ValueError: an unknown key, an empty list or an empty grid.
    """
    grids = [param_grid] if isinstance(param_grid, dict) else param_grid
    if not isinstance(grids, list | tuple) or not all(isinstance(g, dict) for g in grids):
        raise TypeError(f"param_grid must be a dict or a list of dicts, not {param_grid!r}")
    if not grids:
        raise ValueError("param_grid is empty")
    return [setting for grid in grids for setting in _product(grid, solver)]


def _product(grid: Any, solver: Any):
    keys = KEYS[inputs.choice("solver", solver, KEYS)]
    for key in grid:
        if key not in keys:
            others = [other for other, known in KEYS.items() if key in known]
            of = f" by solver={solver!r}" if others else ""
            cure = f"; {key} goes with solver={others[0]!r}" if others else ""
            raise ValueError(
                f"param_grid has {key!r}, but a sweep{of} goes through {', '.join(keys)}{cure}"
            )
    names = sorted(grid)
    values = [_values(name, grid[name]) for name in names]
    return [dict(zip(names, choice, strict=True)) for choice in itertools.product(*values)]


def _values(name, value):
    if name == "features":
        return views.in_grid(value)
    if getattr(value, "ndim", 0) > 1:
        shape = tuple(value.shape)
        raise ValueError(f"param_grid[{name!r}] has shape {shape}: give a list of values")
    value = _plain(value)
    values = list(value) if isinstance(value, list | tuple | range) else [value]
    if not values:
        raise ValueError(f"param_grid[{name!r}] is empty")
    return [_plain(v) for v in values]


def _plain(value):
    """Values of NumPy, pandas or torch as Python lists and numbers."""
    return value.tolist() if hasattr(value, "tolist") else value
