"""What every format of exchange holds: one linear layer on the rows as they were given."""

import contextlib
import json
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from softstep.kernels.checks import Array
from softstep.model import inputs
from softstep.model.checkpoint import json_object
from softstep.model.fitted import Fitted
from softstep.model.inputs import Kind
from softstep.model.inputs.scale import PIXEL_SCALE
from softstep.model.saved_model import State, state_of
from softstep.model.views import Scaler

METADATA = "softstep"  # the name under which a file holds what its format has no place for
LOST = 1e-6  # how far rounding may move logits before it is warned of
CLASS_DTYPES = ("bool", *(f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64)))


@dataclass(frozen=True)
class Linear:
    """V = X weightᵀ + bias, for X as the model was given it: its scale is in the weights.

    weight: (c, d), 0 for a column that the model does not see; bias: (c,); both float32 or both
    float64. classes: (c,), in the order of the rows of `weight`. names: of the columns, (d,)
    objects, or None. setting: the model's `feature_scale`, by which it reads later rows. kind: what
    it learned from; None: not known. scaler: by which the columns of X are scaled, "standard",
    before they meet `weight`; None: they are not, or `weight` has it in it.
    """

    weight: Array
    bias: Array
    classes: Array
    names: Array | None = None
    setting: float | str = 1.0
    kind: Kind | None = None
    scaler: Scaler | None = None

    @classmethod
    def of(
        cls, model: Any, *, of_unit_rows: bool = False, apart: bool = False, wide: bool = False
    ) -> Self:
        """That of a fitted SoftmaxRegression.

        of_unit_rows: whether the layer may be one on rows of unit length, where the model brings
        them to that. Of columns that the model scales, apart: whether that may stay apart, in
        `scaler`; wide: whether the weights may be float64. If neither, it is warned of figures that
        are lost where a mean is many deviations from 0.

        Raises:
            NotFittedError: before `fit`.
            ValueError: the weights overflow once the scale of the features is in them; a model with
                scaling="l2" is no linear layer.
        """
        fitted = Fitted.of(model)
        schema, scaler, dtype = fitted.schema, fitted.scaler, fitted.W.dtype
        scale = np.float64(schema.scale)
        if scaler is not None and scaler.unit:
            if not of_unit_rows:
                raise ValueError(
                    f"scaling={scaler.scaling!r} brings rows to unit length, which a linear "
                    "layer does not: to_sklearn() gives a pipeline that does"
                )
            scale = np.sign(scale)
        W, b, kept = fitted.W, fitted.b, None
        if scaler is not None and scaler.mean is not None:
            if apart:
                b, kept = _apart(fitted, scaler)
                scale = np.sign(scale)
            else:
                dtype = np.dtype(np.float64) if wide else dtype
                W, b = _folded(scaler, W, b, scale, dtype)
        with np.errstate(over="ignore"):
            seen = (W.T * scale).astype(dtype)
        weight = np.zeros((len(seen), schema.width), dtype)
        weight[:, slice(*schema.columns)] = seen
        if not np.isfinite(weight).all():
            raise ValueError(f"weights times feature_scale, {schema.scale:g}, overflow {dtype}")
        setting = schema.setting if isinstance(schema.setting, str) else float(schema.setting)
        bias = np.array(b, dtype)
        return cls(weight, bias, fitted.classes, schema.names, setting, schema.kind, kept)

    @property
    def takes_pixels(self) -> bool:
        """Whether the rows are uint8, of which the model makes numbers within [0, 1]."""
        return self.setting == "auto" and self.kind is Kind.PIXELS

    def state(self, model: Any) -> State:
        """The state of a model of these weights, which was not trained here.

        Raises:
            TypeError, ValueError: they cannot be those of a SoftmaxRegression.
        """
        if self.weight.ndim != 2 or self.classes.shape != self.weight.shape[:1]:
            raise ValueError(f"{self.classes.size} classes, but weights of {self.weight.shape}")
        if self.bias.shape != self.classes.shape:
            raise ValueError(f"{self.classes.size} classes, but a bias of {self.bias.shape}")
        scale = self.scale
        order = np.argsort(self.classes, kind="stable")
        own = np.float64(scale) if self.scaler is None else np.sign(scale)
        weight = (self.weight[order] / own).astype(self.weight.dtype)
        W, b = np.ascontiguousarray(weight.T)[None], self.bias[order][None]
        arrays = {"W": W, "b": b, "MW": np.zeros_like(W), "Mb": np.zeros_like(b)}
        arrays |= {"classes": self.classes[order], "loss_curve": np.empty(0)}
        settings: dict[str, Any] = {"seed": 0, "feature_scale": scale, "learned_from": self.kind}
        if self.names is not None:
            settings["feature_names"] = self.names.tolist()
        if self.scaler is not None:
            settings["scaling"] = self.scaler.scaling
            arrays |= self.scaler.times(scale).all_arrays()
        return state_of(arrays, settings, model)

    @property
    def scale(self) -> float:
        """The factor that the model applies to X.

        Raises:
            TypeError, ValueError: the setting is none.
        """
        if self.setting == "auto":
            return PIXEL_SCALE if self.kind is Kind.PIXELS else 1.0
        scale = float(inputs.number("feature_scale", self.setting))
        if not scale:
            raise ValueError("feature_scale is 0")
        return scale

    def metadata(self) -> dict[str, str]:
        """All but the weights as text, for formats that keep pairs of names and texts."""
        about = {
            "classes": self.classes.tolist(),
            "dtype": self.classes.dtype.name if self.classes.dtype.kind != "U" else "str",
            "feature_names": None if self.names is None else self.names.tolist(),
            "feature_scale": self.setting,
            "learned_from": self.kind,
        }
        return {METADATA: json.dumps(about, allow_nan=False)}


def _apart(fitted: Fitted, scaler: Scaler) -> tuple[Array, Scaler]:
    """b, and a scaler of all columns as they are given, whose means are numbers of the dtype of the
    weights: what rounding takes from them is in b. Columns that the model does not see stay."""
    W, schema = fitted.W, fitted.schema
    center, inverse, rest = scaler.constants(len(W), W.dtype, schema.scale)
    mean, scale = np.zeros(schema.width), np.ones(schema.width)
    seen = slice(*schema.columns)
    mean[seen], scale[seen] = center, 1 / np.abs(inverse.astype(np.float64))
    b = fitted.b if not rest.any() else fitted.b + rest.astype(np.float64) @ W
    return b, Scaler(False, mean, scale)


@np.errstate(all="ignore")  # weights that overflow are refused
def _folded(
    scaler: Scaler, W: Array, b: Array, scale: Any, dtype: np.dtype[Any]
) -> tuple[Array, Array]:
    """The weights of columns as they were given, in float64. At their means b makes up for what
    rounding to dtype, once the scale is in it, does to W. Warns where it is off beside them."""
    assert scaler.mean is not None
    W, b = scaler.folded(W.astype(np.float64), b.astype(np.float64))
    rounded = (W * scale).astype(dtype)
    b = b + scaler.mean @ (W - rounded / scale)
    lost = np.finfo(dtype).eps / 2 * np.sqrt(((scaler.mean[:, None] * W) ** 2).sum(axis=0)).max()
    if lost > LOST:
        away = np.abs(scaler.mean / scaler.divisor).max()
        inputs.warn(
            f"means of columns are up to {away:.2g} deviations from 0, so that logits of a layer "
            f"on the columns as they were given are off by about {lost:.1g} in {dtype}: to_onnx() "
            "and to_sklearn() keep all figures, and so does a model of float64 rows"
        )
    return W, b


def from_metadata(
    weight: Array, bias: Array, metadata: dict[str, str], scaler: Scaler | None = None
) -> Linear:
    """The layer of these weights and what `metadata` says; classes 0…c-1 if it says nothing.

    Raises:
        KeyError, TypeError, ValueError: it says what cannot be.
    """
    if METADATA not in metadata:
        return Linear(weight, bias, np.arange(len(weight)))
    about = json_object(metadata[METADATA], METADATA)
    names, kind = about["feature_names"], about["learned_from"]
    return Linear(
        weight,
        bias,
        _classes(about["classes"], about["dtype"]),
        None if names is None else np.array(names, dtype=object),
        about["feature_scale"],
        None if kind is None else Kind(kind),
        scaler,
    )


def _classes(found: Any, dtype: Any) -> Array:
    if not isinstance(found, list):
        raise ValueError("its classes are not a list")
    if dtype == "str" and all(isinstance(label, str) for label in found):
        return np.array(found)
    kind = float if dtype in ("float32", "float64") else int
    if (kind is float or dtype in CLASS_DTYPES) and all(isinstance(v, kind) for v in found):
        with contextlib.suppress(OverflowError):
            return np.array(found, dtype)
    raise ValueError("its classes are not of the type they are said to have")
