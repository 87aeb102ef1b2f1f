"""The contents of a saved SoftmaxRegression, checked before anything is computed with them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.checks import FLOAT_DTYPES, Array
from softstep.model import inputs, trainer
from softstep.model.inputs import Kind, Schema
from softstep.model.inputs.scale import PIXEL_SCALE
from softstep.model.views import SCALINGS, Scaler, resolve

OF_OPTIMUM = ("objective_", "gradient_norm_", "bound_", "converged_")  # attributes


@dataclass(frozen=True)
class State:
    """The result of training, as it is saved.

    W: (1, d, c). b: (1, c). velocity: (MW, Mb), of the same forms. classes: (c,), sorted.
    seed: of the fit. schema: what the features were. loss_curve: (epochs,). origin: how it came to
    be (`softstep.model.resume.origin`), for JSON. optimum: objective, gradient norm, bound (NaN:
    none) and whether it converged, of a model that was solved. scaler: by which the rows were
    scaled that W and b are weights of.
    """

    W: Array
    b: Array
    velocity: tuple[Array, Array]
    classes: Array
    seed: int
    schema: Schema
    loss_curve: Array
    origin: dict[str, Any]
    optimum: tuple[float, float, float, bool] | None = None
    scaler: Scaler | None = None


def state_of(arrays: dict[str, Array], settings: dict[str, Any], model: Any) -> State:
    """The state in the arrays and settings of a file, for this model, checked.

    Raises:
        KeyError: an entry is missing. TypeError, ValueError: an entry cannot be right.
    """
    W, b, classes = arrays["W"], arrays["b"], arrays["classes"]
    if W.dtype.name not in FLOAT_DTYPES or W.ndim != 3 or len(W) != 1 or 0 in W.shape:
        raise ValueError(f"W is {W.dtype} of shape {W.shape}")
    _, d, c = W.shape
    for name, shape in (("W", (1, d, c)), ("b", (1, c)), ("MW", (1, d, c)), ("Mb", (1, c))):
        _check_floats(name, arrays[name], shape, W.dtype)
    curve = arrays["loss_curve"]
    _check_floats("loss_curve", curve, (curve.size,), np.dtype(np.float64))
    if classes.shape != (c,) or c < 2 or classes.dtype.kind not in "biufU":
        raise ValueError(f"classes are {classes.dtype} of shape {classes.shape}, for {c} columns")
    if not (classes[1:] > classes[:-1]).all():
        raise ValueError("classes are not sorted, each once")
    return State(
        W=W,
        b=b,
        velocity=(arrays["MW"], arrays["Mb"]),
        classes=classes,
        seed=inputs.integer("seed", settings["seed"], least=0),
        schema=_schema(settings, d, model),
        loss_curve=curve,
        origin=_origin(settings),
        optimum=_optimum(settings),
        scaler=_scaler(arrays, settings, d),
    )


def take_over(model: Any, state: State) -> None:
    """Give a SoftmaxRegression the attributes of a fitted one, from a saved or trained state."""
    model.seed_, model.classes_ = state.seed, state.classes
    model._scaler = state.scaler
    model._bank = trainer.BankState(state.W, state.b, state.velocity)
    model.loss_curve_, model.n_iter_ = state.loss_curve, len(state.loss_curve)
    model.history_, model.origin_ = [], state.origin
    if state.optimum is not None:
        put_optimum_on(model, state.optimum)
    state.schema.put_on(model)
    model._publish()


def put_optimum_on(model: Any, optimum: tuple[float, float, float, bool]) -> None:
    """What is known of a model that was solved."""
    for name, value in zip(OF_OPTIMUM, optimum, strict=True):
        setattr(model, name, value)


def optimum_for_json(model: Any) -> list[Any] | None:
    """The same for JSON, which has no NaN; None for a model that was trained."""
    if not hasattr(model, "objective_"):
        return None
    figures = [float(getattr(model, name)) for name in OF_OPTIMUM[:3]]
    return [*(None if np.isnan(figure) else figure for figure in figures), bool(model.converged_)]


def _optimum(settings: dict[str, Any]) -> tuple[float, float, float, bool] | None:
    found = settings.get("optimum")
    if found is None:
        return None
    objective, gradient_norm, bound, converged = found

    def number(name: str, value: Any, **limits: Any) -> float:
        return np.nan if value is None else float(inputs.number(name, value, **limits))

    return (
        number("objective", objective),
        number("gradient_norm", gradient_norm, least=0),
        number("bound", bound, least=0),
        inputs.flag("converged", converged),
    )


def _scaler(arrays: dict[str, Array], settings: dict[str, Any], d: int) -> Scaler | None:
    scaling = inputs.choice("scaling", settings.get("scaling"), SCALINGS)
    if scaling is None:
        return None
    if "standard" not in scaling:
        return Scaler(unit=True)
    for name in ("mean", "scale"):
        _check_floats(name, arrays[name], (d,), np.dtype(np.float64))
    if (arrays["scale"] < 0).any():
        raise ValueError("scale is below 0")
    given, factor = arrays.get("given_mean"), 1.0
    if given is not None:
        _check_floats("given_mean", given, (d,), np.dtype(np.float64))
        _check_floats("factor", arrays["factor"], (), np.dtype(np.float64))
        factor = inputs.number("factor", arrays["factor"].item())
    return Scaler(scaling.startswith("l2"), arrays["mean"], arrays["scale"], given, factor)


def _origin(settings: dict[str, Any]) -> dict[str, Any]:
    found = settings.get("origin", {})  # files that were saved before it was kept have none
    if not isinstance(found, dict):
        raise ValueError("its origin is not a JSON object")
    if "seconds" in found:
        inputs.number("seconds of its origin", found["seconds"], least=0)
    return found


def _schema(settings: dict[str, Any], d: int, model: Any) -> Schema:
    """What the features were; files that were saved before it was kept say only whether pixels."""
    scale = inputs.number("feature_scale", settings["feature_scale"])
    kind = settings.get("learned_from")
    if kind is not None:
        kind = Kind(kind)
    elif scale == PIXEL_SCALE:
        kind = Kind.PIXELS
    width = inputs.integer("n_features", settings.get("n_features", d), least=d)
    start, stop = resolve(tuple(settings.get("features", (0, width))), width)
    if stop - start != d:
        raise ValueError(f"weights for {d} features, but it sees the columns {start} to {stop - 1}")
    names = settings.get("feature_names")
    if names is not None:
        if not (isinstance(names, list) and len(names) == width):
            raise ValueError(f"the feature names are not a list of {width}")
        if not all(isinstance(name, str) for name in names):
            raise ValueError("a feature name is not text")
        names = np.array(names, dtype=object)
    keys = settings.get("feature_keys")
    if keys is not None:
        if not (isinstance(keys, list) and len(keys) == width):
            raise ValueError(f"the keys of the features are not a list of {width}")
        keys = tuple(inputs.integer("a key of the features", key, least=-(2**63)) for key in keys)
    owner, seen = type(model).__name__, (start, stop)
    return Schema(width, names, kind, scale, model.feature_scale, owner, seen, keys)


def _check_floats(name: str, array: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name} is {array.dtype} of shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} is not finite")
