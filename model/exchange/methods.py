"""The methods of an estimator by which its weights leave and enter."""

from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from softstep.model.archive import DataError, PathLike
from softstep.model.exchange import onnx_, safetensors_, sklearn_, torch_
from softstep.model.exchange.linear import Linear
from softstep.model.fitted import Fitted
from softstep.model.saved_model import take_over

if TYPE_CHECKING:
    import onnx
    import torch
    from sklearn.linear_model import LogisticRegression

Model = TypeVar("Model", bound="Exchange")


class Exchange:
    """A fitted softmax regression for other libraries, and theirs as one of these.

    What leaves computes v = x·weightᵀ + bias for rows x as the model was given them, so the scale
    of the features is in the weights: pixels are given as numbers from 0 to 255. Its probabilities
    equal the model's to 1e-6, unless it warns: with scaling="standard" in float32, weights of
    columns as they were given lose figures where means are thousands of deviations from 0, in
    `to_torch` and `to_safetensors`. What enters is a fitted model with the default settings, and
    the weights; it can predict, be saved, and learn on by `partial_fit`.
    """

    def to_torch(self) -> "torch.nn.Linear":
        """A `torch.nn.Linear` that gives the logits, (n, c), in the dtype of the weights.

        Raises:
            NotFittedError: before `fit`. MissingExtraError: PyTorch is not installed.
        """
        return torch_.to_layer(Linear.of(self))

    @classmethod
    def from_torch(cls, layer: "torch.nn.Linear", classes: Any = None, names: Any = None) -> Self:
        """The model whose logits are those of a `torch.nn.Linear`.

        Args:
            layer: half precision is widened to float32.
            classes: the label of each output, (c,); None: 0…c-1.
            names: of the features, (d,) strings; None: they have none.

        Raises:
            TypeError, ValueError: not such a layer, or classes or names of another length.
        """
        return _entered(cls, torch_.from_layer(layer, classes, names))

    def to_sklearn(self) -> Any:
        """A fitted scikit-learn LogisticRegression that predicts the same.

        Of two classes it has the difference of their weights, `coef_` (1, d) and `intercept_` (1,),
        as scikit-learn does. With scaling="l2" or "l2+standard" it is a pipeline of a Normalizer
        and that. Of columns that the model scales the weights are float64.

        Raises:
            NotFittedError: before `fit`. MissingExtraError: scikit-learn is not installed.
            ValueError: it brings some of the columns to unit length, and does not see the others.
        """
        estimator = sklearn_.to_estimator(Linear.of(self, of_unit_rows=True, wide=True))
        return sklearn_.after_scaling(estimator, Fitted.of(self))

    @classmethod
    def from_sklearn(cls, estimator: "LogisticRegression") -> Self:
        """The model that predicts as a fitted scikit-learn LogisticRegression does.

        Of two classes, whose weights are (1, d) there, each gets half: -w/2 and w/2.

        Raises:
            NotFittedError: before its `fit`. TypeError: it is no LogisticRegression.
            ValueError: more than two classes, one against the rest: that is no softmax.
        """
        return _entered(cls, sklearn_.from_estimator(estimator))

    def to_onnx(self, path: PathLike | None = None) -> "onnx.ModelProto":
        """An ONNX model, written to `path` too if one is given, whole or not at all.

        Input "X", (n, d): uint8 if the model learned from pixels, else the dtype of the weights.
        Outputs "label", (n,), and "probabilities", (n, c). Gemm and Softmax, opset 17; with
        scaling="standard" Sub and Mul before them, and from_onnx gives a model with that setting.

        Raises:
            NotFittedError: before `fit`. MissingExtraError: onnx is not installed.
            OSError: the file cannot be written.
        """
        return onnx_.to_model(Linear.of(self, apart=True), path)

    @classmethod
    def from_onnx(cls, source: "PathLike | onnx.ModelProto") -> Self:
        """The model of an ONNX file or model of one Gemm, as `to_onnx` or PyTorch writes it.

        Raises:
            FileNotFoundError: there is no such file. MissingExtraError: onnx is not installed.
            DataError: it is damaged, or computes something else.
        """
        return _read(cls, source, onnx_.from_model(source))

    def to_safetensors(self, path: PathLike) -> None:
        """Write "weight", (c, d), and "bias", (c,), to a .safetensors file, whole or not at all.

        A `torch.nn.Linear` loads it. Classes and names of features are in its metadata.

        Raises:
            NotFittedError: before `fit`. MissingExtraError: safetensors is not installed.
            OSError: the file cannot be written.
        """
        safetensors_.write(Linear.of(self), path)

    @classmethod
    def from_safetensors(cls, path: PathLike) -> Self:
        """The model of a .safetensors file of one linear layer, by `to_safetensors` or PyTorch.

        Raises:
            FileNotFoundError: there is no such file. MissingExtraError: safetensors is missing.
            DataError: it is damaged, or holds something else.
        """
        return _read(cls, path, safetensors_.read(path))


def _entered(cls: type[Model], linear: Linear) -> Model:
    scaling = None if linear.scaler is None else linear.scaler.scaling
    model = cast("Any", cls)(feature_scale=linear.setting, scaling=scaling)
    take_over(model, linear.state(model))
    return cast("Model", model)


def _read(cls: type[Model], source: Any, linear: Linear) -> Model:
    try:
        return _entered(cls, linear)
    except (TypeError, ValueError) as error:
        raise DataError(f"{onnx_.named(source)}: not a softmax regression: {error}") from error
