"""What `softstep explain` tells, step by step: the formula, the numbers, a remark.

Terminal and page show the same steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.model.explain import Explanation
from softstep.model.plots.style import power_of_e, power_of_ten

LEAST = 1e-4  # that six decimals show three figures of
COUNTED = {  # how the features are numbered
    "pixels": "Pixels are counted from 0, row by row.",
    "features": "Features are counted from 0.",
}
SHOWN = 6  # features whose part in the gradient is written out


@dataclass(frozen=True)
class Step:
    """A formula and a table of its numbers: a head, rows of text, and which row is the label's.

    The head's cells are formulas, and then names of classes. The remark may hold formulas, the note
    after it does not.
    """

    title: str
    formula: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    remark: str = ""
    note: str = ""
    names: tuple[str, ...] = ()
    marked: int | None = None
    op: str = ""


def steps(e: Explanation, classes: Any, *, unit: str) -> list[Step]:
    """From logits to the step of descent; `unit` is what the features are, such as "pixels"."""
    names = [str(name) for name in classes]
    first = [_logits(e, names, unit), _softmax(e, names), _loss(e, names)]
    slopes = [_slope_in_v(e, names)]
    if e.dp is not None:
        slopes = [_slope_in_p(e, names), _jacobian(e, names), *slopes]
    return [*first, *slopes, _slope_in_w(e, names, unit), _update(e)]


def _logits(e: Explanation, names: list[str], unit: str) -> Step:
    sums = e.v - e.b
    rows = _columns(names, _signed, sums, e.b, e.v)
    return Step(
        f"1. Logits: a weighted sum of the {unit} for each class",
        "v_i = Σ_k x_k W_ki + b_i",
        ("class", "Σ_k x_k W_ki", "b_i", "v_i"),
        rows,
        marked=e.label,
        op="linear_forward",
    )


def _softmax(e: Explanation, names: list[str]) -> Step:
    rows: list[tuple[str, ...]] = [
        (name, _signed(v), power_of_e(v, 6), _fixed(p))
        for name, v, p in zip(names, e.v, e.p, strict=True)
    ]
    log_sum = e.v.max() + np.log(np.exp(e.v - e.v.max()).sum())  # e^v itself may overflow
    return Step(
        "2. Softmax: positive, and 1 in all",
        "p_i = e^(v_i) / Σ_j e^(v_j)",
        ("class", "v_i", "e^(v_i)", "p_i"),
        rows,
        f"Σ_j e^(v_j) = {power_of_e(log_sum, 6)}.",
        f"The most probable class is {names[e.p.argmax()]}.",
        marked=e.label,
        op="softmax_forward",
    )


def _loss(e: Explanation, names: list[str]) -> Step:
    if e.loss_name == "mse":
        rows = _columns(names, _fixed, e.y, e.p, (e.y - e.p) ** 2)
        return Step(
            "3. Loss: how far the probabilities are from the target",
            "L = (1/c) Σ_i (y_i − p_i)²",
            ("class", "y_i", "p_i", "(y_i − p_i)²"),
            rows,
            f"L = {_number('{:.9g}', e.loss)}, the mean of the last column.",
            marked=e.label,
            op="mse_forward",
        )
    return Step(
        "3. Loss: how surprising the right class is",
        "L = −log p_y = log Σ_j e^(v_j) − v_y",
        ("class", "y_i", "p_i"),
        _columns(names, _fixed, e.y, e.p),
        f"L = {_number('{:.9g}', e.loss)}.",
        marked=e.label,
        op="cross_entropy_forward",
    )


def _slope_in_p(e: Explanation, names: list[str]) -> Step:
    return Step(
        "4. Back: the slope of the loss in the probabilities",
        "dp_i = ∂L/∂p_i = (2/c) (p_i − y_i)",
        ("class", "p_i − y_i", "dp_i"),
        _columns(names, _signed, e.p - e.y, e.dp),
        f"2/c is {2 / len(e.p):g}. Minus at the right class: more of it lowers the loss.",
        marked=e.label,
        op="mse_backward",
    )


def _jacobian(e: Explanation, names: list[str]) -> Step:
    rows = [
        (name, *(_number("{:+.3g}", value) for value in row))
        for name, row in zip(names, e.jacobian(), strict=True)
    ]
    return Step(
        "5. The Jacobian of the softmax: every probability depends on every logit",
        "∂p_j/∂v_i = p_j (δ_ij − p_i)",
        ("i, j",),
        rows,
        "Each row sums to 0: what one class gains the others lose.",
        names=tuple(names),
        marked=e.label,
    )


def _slope_in_v(e: Explanation, names: list[str]) -> Step:
    if e.dp is None:
        return Step(
            "4. Back: the slope of the loss in the logits",
            "dv_i = ∂L/∂v_i = p_i − y_i",
            ("class", "p_i", "y_i", "dv_i"),
            _columns(names, _signed, e.p, e.y, e.dv),
            "They sum to 0: adding one number to all logits changes nothing.",
            marked=e.label,
            op="cross_entropy_backward",
        )
    inner = float(e.dp @ e.p)
    return Step(
        "6. The slope of the loss in the logits: Jacobian times dp",
        "dv_i = Σ_j dp_j ∂p_j/∂v_i = p_i (dp_i − Σ_j dp_j p_j)",
        ("class", "p_i", "dp_i − Σ_j dp_j p_j", "dv_i"),
        _columns(names, _signed, e.p, e.dp - inner, e.dv),
        f"Σ_j dp_j p_j = {_signed(inner)}. The dv_i sum to 0.",
        marked=e.label,
        op="softmax_backward",
    )


def _slope_in_w(e: Explanation, names: list[str], unit: str) -> Step:
    number = 5 if e.dp is None else 7
    shown = np.sort(np.argsort(-np.abs(e.x), kind="stable")[:SHOWN])
    rows = [
        (_number(f"x_{k} = {{:.4g}}", e.x[k]), *(_number("{:+.3g}", value) for value in e.dW[k]))
        for k in shown.tolist()
    ]
    rows.append(("db", *(_number("{:+.3g}", value) for value in e.db)))
    dark = int((e.x == 0).sum())
    return Step(
        f"{number}. The slope of the loss in the weights: an outer product",
        "dW_ki = x_k dv_i,  dW = x ⊗ dv,  db = dv",
        ("k",),
        rows,
        f"Rows of the {len(shown)} strongest of {len(e.x)} {unit}. All {e.dW.size} numbers were "
        f"compared with the products x_k dv_i: they are the same. {dark} {unit} are 0, and leave "
        f"their weights alone. {COUNTED[unit]}",
        names=tuple(names),
        op="linear_backward",
    )


def _update(e: Explanation) -> Step:
    number = 6 if e.dp is None else 8
    return Step(
        f"{number}. The step",
        "W ← W − α dW,  b ← b − α db",
        ("", "L of this row"),
        [("before", _number("{:.9g}", e.loss)), ("after", _number("{:.9g}", e.loss_after))],
        f"α = {e.learning_rate:g}, on this row alone; in training dW is the mean over a batch.",
    )


def _number(form: str, value: float) -> str:
    """With a real minus, and powers of ten written as such."""
    number, _, exponent = form.format(value).replace("-", "−").partition("e")
    return number + (power_of_ten(int(exponent.replace("−", "-"))) if exponent else "")


def _fixed(value: float, sign: str = "") -> str:
    """With six decimals where these show three figures, or zero; else with a power of ten."""
    is_seen = value == 0 or abs(value) >= LEAST
    return _number(f"{{:{sign}.6f}}" if is_seen else f"{{:{sign}.2e}}", value)


def _signed(value: float) -> str:
    return _fixed(value, "+")


def _columns(
    names: Sequence[str], form: Callable[[float], str], *columns: Any
) -> list[tuple[str, ...]]:
    return [
        (name, *(form(value) for value in values))
        for name, *values in zip(names, *columns, strict=True)
    ]
