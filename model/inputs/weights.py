"""The door for weights: sample_weight and class_weight become one weight for each row."""

from typing import Any

import numpy as np

from softstep.model.inputs import tables
from softstep.model.inputs.arrays import host_array, refuse_missing
from softstep.model.inputs.settings import number
from softstep.model.inputs.warnings import warn


def weight_array(sample_weight: Any, n: int, name: str = "sample_weight") -> Any:
    """Weights of rows, (n,) float64, as given.

    Raises:
        TypeError, ValueError: not numbers, of another length, missing, negative or not finite.
    """
    columns = tables.columns_of(sample_weight)
    column = columns[0] if len(columns) == 1 else sample_weight
    if len(columns) < 2:
        refuse_missing(column, name + "[{}]")
    weights = host_array(column, name)
    if weights.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold numbers, not {weights.dtype}")
    if weights.shape != (n,):
        raise ValueError(f"{name} has shape {weights.shape}, but there are {n} rows")
    weights = weights.astype(np.float64)
    bad = np.flatnonzero(~((weights >= 0) & np.isfinite(weights)))
    if bad.size:
        raise ValueError(f"{name}[{bad[0]}] = {weights[bad[0]]} must be finite and >= 0")
    return weights


def row_weights(
    sample_weight: Any,
    class_weight: Any,
    codes: Any,
    classes: Any,
    n: int,
) -> Any:
    """sample_weight × class_weight per row, (n,) float64; None if neither is given.

    Raises:
        TypeError, ValueError: not numbers, of the wrong length, negative or not finite; class
            weights for none of the classes, or with soft targets. Weights for some class that is
            not there are warned of.
    """
    if sample_weight is None and class_weight is None:
        return None
    weights = np.ones(n) if sample_weight is None else weight_array(sample_weight, n)
    if class_weight is not None:
        if codes is None:
            raise ValueError("class_weight needs labels, not soft targets")
        weights = weights * _class_weights(class_weight, codes, classes, weights)[codes]
    return weights


def of_mean_one(weights: Any) -> Any:
    """Weights of rows scaled to mean 1; None stays None.

    Raises:
        ValueError: they sum to zero, or to infinity.
    """
    if weights is None:
        return None
    mean = weights.mean()
    if not 0 < mean < np.inf:
        raise ValueError("the weights of the rows sum to zero, or to infinity")
    return weights / mean


def refuse_balanced_in_parts(class_weight: Any) -> None:
    """Raise ValueError for class weights that depend on rows that are yet to come."""
    if isinstance(class_weight, str) and class_weight == "balanced":
        raise ValueError(
            "class_weight 'balanced' is not supported for partial_fit, which sees a part of the "
            "rows: give a dict label → weight, such as scikit-learn's compute_class_weight finds"
        )


def check_class_weight(class_weight: Any) -> None:
    """Raise TypeError or ValueError unless it is None, "balanced" or a dict label → weight."""
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight must be a dict or 'balanced', not {class_weight!r}")
    elif isinstance(class_weight, dict):
        for label, weight in class_weight.items():
            number(f"class_weight[{label!r}]", weight, least=0.0)
    elif class_weight is not None:
        raise TypeError(f"class_weight must be a dict or 'balanced', not {class_weight!r}")


def _class_weights(class_weight, codes, classes, weights):
    if isinstance(class_weight, str):  # "balanced"
        # A row counts by its weight, as in scikit-learn: a fold has none of those it is judged on.
        counts = np.bincount(codes, weights, len(classes))
        return counts.sum() / (len(classes) * np.where(counts > 0, counts, 1))
    known = classes.tolist()
    weights = np.ones(len(classes))
    unknown = [label for label in class_weight if label not in known]
    if unknown and len(unknown) == len(class_weight):
        raise ValueError(f"class_weight names {unknown[0]!r}, which is not one of the classes")
    if unknown:  # as in a fold without rows of that class
        warn(f"class_weight names {unknown[0]!r}, which is not one of the classes here")
    for label, weight in class_weight.items():
        if label in known:
            weights[known.index(label)] = weight
    return weights
