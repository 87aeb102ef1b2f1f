"""What a model learned from, so that it reads later rows alike, or refuses them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from softstep.kernels.checks import Array, compute_dtype
from softstep.model.inputs.names import check_keys, check_names
from softstep.model.inputs.rows import Features, features, labels_of
from softstep.model.inputs.scale import Kind, factor, first_factor
from softstep.model.views import Range


@dataclass(frozen=True)
class Schema:
    """What the features were that a model learned from.

    width: the number of columns given. names: theirs, (width,) objects, or None. kind: of those
    that the model sees; None where a model was saved before it was kept. scale: the factor applied
    to them. setting: `feature_scale` as it was then, by which the factor of later rows follows.
    owner: the class of the model, for messages. columns: those that it sees. keys: of
    the columns, where they have no names, or None (`keys_of`).
    """

    width: int
    names: Array | None
    kind: Kind | None
    scale: float
    setting: float | str
    owner: str
    columns: Range
    keys: tuple[Any, ...] | None = None

    @classmethod
    def of_rows(cls, rows: Features, model: Any) -> "Schema":
        """That of the rows a model learns from first.

        Raises:
            TypeError, ValueError: the model's feature_scale is not as described.
        """
        kind, setting = Kind.of(rows), model.feature_scale
        scale = first_factor(setting, kind)
        owner = type(model).__name__
        return cls(rows.width, rows.names, kind, scale, setting, owner, rows.columns, rows.keys)

    @classmethod
    def of_model(cls, model: Any) -> "Schema":
        """That of a fitted model."""
        return cls(
            model.n_features_in_,
            vars(model).get("feature_names_in_"),  # scikit-learn is asked for what is not there
            model.learned_from_,
            model.feature_scale_,
            model._feature_scale,
            type(model).__name__,
            model.features_,
            vars(model).get("_feature_keys"),
        )

    @property
    def seen(self) -> int:
        """How many columns the model sees."""
        start, stop = self.columns
        return stop - start

    @property
    def labels(self) -> Any:
        """What these columns are called in messages, see `labels_of`."""
        return labels_of(self.names, self.columns)

    def put_on(self, model: Any) -> None:
        """Set the attributes that `of_model` reads."""
        model.n_features_in_, model.feature_scale_ = self.width, self.scale
        model.features_ = self.columns
        model.learned_from_, model._feature_scale = self.kind, self.setting
        model._feature_keys = self.keys
        vars(model).pop("feature_names_in_", None)
        if self.names is not None:
            model.feature_names_in_ = self.names

    def rows(self, given: Any, name: str = "X") -> Features:
        """Later rows through the door for X, with the same columns; those that the model sees.

        Raises:
            TypeError, ValueError: not such rows; other columns, or in another order.
        """
        rows = features(given, name)
        self.check_columns(rows, name)
        return rows.seen(self.columns)

    def check_columns(self, rows: Features, name: str = "X") -> None:
        """Raise ValueError unless rows have the same columns; warn of names on one side alone."""
        check_names(rows.names, self.names, name, self.owner)
        check_keys(rows.keys, self.keys)
        if rows.width != self.width:
            start, stop = self.columns
            sees = f": of these it sees the columns {start} to {stop - 1}"
            raise ValueError(
                f"{name} has {rows.width} features, but {self.owner} is expecting {self.width} "
                f"features as input{sees if self.seen < self.width else ''}"
            )

    def factor(self, rows: Features, name: str = "X") -> float:
        """The factor for later rows.

        Raises:
            ValueError: the model would misread them; the text has the cure.
        """
        return factor(self.setting, rows, name, self.kind)

    def numbers(self, rows: Features, dtype: np.dtype[Any]) -> Array:
        """The rows as numbers; uint8 and int8 in `dtype`, that of the weights, if the model learned
        from other whole numbers, so that the same numbers give the same bits in int8 and in int64.
        """
        is_byte = self.kind is Kind.WHOLE and rows.X.dtype.kind in "iu"
        return rows.X.astype(dtype) if is_byte and compute_dtype(rows.X) != dtype else rows.X

    def and_then(self, rows: Features) -> "Schema":
        """After the model learned from these rows too; itself where that changes nothing."""
        if self.kind is None or self.kind is Kind.FLOATS:  # whatever the rows are
            return self
        kind = self.kind.and_then(Kind.of(rows))
        return self if kind is self.kind else replace(self, kind=kind)
