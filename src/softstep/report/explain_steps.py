"""The steps that `softstep explain` shows: a formula, its numbers, a remark.

The terminal and the page show the same steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from softstep.kernels import losses
from softstep.kernels.losses import GCE_Q
from softstep.model.explain import Explanation
from softstep.model.plots.style import power_of_e, power_of_ten

LEAST = 1e-4  # the smallest number of which six decimals show three digits
COUNTED = {  # how the features are numbered
    "pixels": "Pixels are counted from 0, row by row.",
    "features": "Features are counted from 0.",
}
SHOWN = 6  # features whose part of the gradient is written out
# What a loss has to show beyond its row in the table: the terms that are summed, or the factor in
# front of its gradient.
TERMS: dict[str, tuple[str, Callable[[Explanation], Any]]] = {
    "mse": ("(y_i − p_i)²", lambda e: (e.y - e.p) ** 2),
}
FACTORS: dict[str, tuple[str, Callable[[Explanation], float]]] = {
    "mse": ("2/c", lambda e: 2 / len(e.p)),
    "gce": ("p_y^(0.7)", lambda e: float(e.p[e.label]) ** GCE_Q),
}


@dataclass(frozen=True)
class Step:
    """A formula and a table of its numbers: the head, rows of text, and which row is the label's.

    The cells of the head are formulas, followed by names of classes. The remark may hold formulas,
    the note after it may not.
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
    """From logits to the gradient step; `unit` is what the features are, such as "pixels"."""
    names = [str(name) for name in classes]
    told = [_logits(e, names, unit), _softmax(e, names), _loss(e, names)]
    if e.dp is None:
        told += [_gradient_of_v(e, names)]
    else:
        told += [_gradient_of_p(e, names), _jacobian(e, names), _gradient_through_p(e, names)]
    told += [_gradient_of_w(e, names, unit), _update(e)]
    return [replace(step, title=f"{k}. {step.title}") for k, step in enumerate(told, 1)]


def _logits(e: Explanation, names: list[str], unit: str) -> Step:
    sums = e.v - e.b
    rows = _columns(names, _signed, sums, e.b, e.v)
    return Step(
        f"Logits: a weighted sum of the {unit} for each class",
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
        "Softmax: positive numbers that sum to 1",
        "p_i = e^(v_i) / Σ_j e^(v_j)",
        ("class", "v_i", "e^(v_i)", "p_i"),
        rows,
        f"Σ_j e^(v_j) = {power_of_e(log_sum, 6)}.",
        f"The most probable class is {names[e.p.argmax()]}.",
        marked=e.label,
        op="softmax_forward",
    )


def _loss(e: Explanation, names: list[str]) -> Step:
    loss = losses.find(e.loss_name)
    head, columns = ["class", "y_i", "p_i"], [e.y, e.p]
    remark = f"L = {_number('{:.9g}', e.loss)}"
    if loss.name in TERMS:
        term, values = TERMS[loss.name]
        head.append(term)
        columns.append(values(e))
        remark += ", the mean of the last column"
    return Step(
        f"Loss: {loss.meaning}",
        loss.formula_text,
        tuple(head),
        _columns(names, _fixed, *columns),
        f"{remark}.",
        marked=e.label,
        op=loss.forward,
    )


def _gradient_of_p(e: Explanation, names: list[str]) -> Step:
    loss = losses.find(e.loss_name)
    return Step(
        "Backward: the gradient with respect to the probabilities",
        loss.gradient_text,
        ("class", "p_i − y_i", "dp_i"),
        _columns(names, _signed, e.p - e.y, e.dp),
        f"{_factor(e)}dp_i is negative for the right class: a larger p_y lowers the loss.",
        marked=e.label,
        op=loss.input_backward,
    )


def _jacobian(e: Explanation, names: list[str]) -> Step:
    rows = [
        (name, *(_number("{:+.3g}", value) for value in row))
        for name, row in zip(names, e.jacobian(), strict=True)
    ]
    return Step(
        "The Jacobian of the softmax: every probability depends on every logit",
        "∂p_j/∂v_i = p_j (δ_ij − p_i)",
        ("i, j",),
        rows,
        "Each row sums to 0: what one class gains, the others lose.",
        names=tuple(names),
        marked=e.label,
    )


def _gradient_through_p(e: Explanation, names: list[str]) -> Step:
    dp: Any = e.dp  # the loss is one of probabilities
    inner = float(dp @ e.p)
    return Step(
        "The gradient with respect to the logits: Jacobian times dp",
        "dv_i = Σ_j dp_j ∂p_j/∂v_i = p_i (dp_i − Σ_j dp_j p_j)",
        ("class", "p_i", "dp_i − Σ_j dp_j p_j", "dv_i"),
        _columns(names, _signed, e.p, dp - inner, e.dv),
        f"Σ_j dp_j p_j = {_signed(inner)}. The dv_i sum to 0.",
        marked=e.label,
        op="softmax_backward",
    )


def _gradient_of_v(e: Explanation, names: list[str]) -> Step:
    loss = losses.find(e.loss_name)
    return Step(
        "Backward: the gradient with respect to the logits",
        loss.gradient_text,
        ("class", "p_i", "y_i", "dv_i"),
        _columns(names, _signed, e.p, e.y, e.dv),
        f"{_factor(e)}The dv_i sum to 0: adding one number to all logits changes nothing.",
        marked=e.label,
        op=loss.input_backward,
    )


def _factor(e: Explanation) -> str:
    """A sentence on the factor in front of the gradient, if its formula has one."""
    if e.loss_name not in FACTORS:
        return ""
    name, value = FACTORS[e.loss_name]
    return f"{name} = {_number('{:.6g}', value(e))}. "


def _gradient_of_w(e: Explanation, names: list[str], unit: str) -> Step:
    shown = np.sort(np.argsort(-np.abs(e.x), kind="stable")[:SHOWN])
    rows = [
        (_number(f"x_{k} = {{:.4g}}", e.x[k]), *(_number("{:+.3g}", value) for value in e.dW[k]))
        for k in shown.tolist()
    ]
    rows.append(("db", *(_number("{:+.3g}", value) for value in e.db)))
    zeros = int((e.x == 0).sum())
    return Step(
        "The gradient with respect to the weights: an outer product",
        "dW_ki = x_k dv_i,  dW = x ⊗ dv,  db = dv",
        ("k",),
        rows,
        f"These are the rows of the {len(shown)} strongest of {len(e.x)} {unit}. All {e.dW.size} "
        f"numbers were compared with the products x_k dv_i: they are the same. {zeros} {unit} are "
        f"0 and leave their weights alone. {COUNTED[unit]}",
        names=tuple(names),
        op="linear_backward",
    )


def _update(e: Explanation) -> Step:
    return Step(
        "The gradient step",
        "W ← W − α dW,  b ← b − α db",
        ("", "L of this row"),
        [("before", _number("{:.9g}", e.loss)), ("after", _number("{:.9g}", e.loss_after))],
        f"α = {e.learning_rate:g}, on this row alone; in training, dW is the mean over a batch.",
    )


def _number(form: str, value: float) -> str:
    """With a true minus sign, and powers of ten written out."""
    number, _, exponent = form.format(value).replace("-", "−").partition("e")
    return number + (power_of_ten(int(exponent.replace("−", "-"))) if exponent else "")


def _fixed(value: float, sign: str = "") -> str:
    """With six decimals if these show three digits, or for zero; else with a power of ten."""
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
