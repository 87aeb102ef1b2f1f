"""ONNX: how columns are scaled, one Gemm, its softmax, and the class of the largest logit."""

import math
import os
from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.model import archive
from softstep.model.archive import DataError, PathLike
from softstep.model.exchange.linear import METADATA, Linear, from_metadata
from softstep.model.extras import load
from softstep.model.views import Scaler
from softstep.model.writing import atomic_write

OPSET, IR_VERSION = 17, 8  # of ONNX 1.12: whatever runs today reads them
BESIDE = {"Gemm", "Cast", "Identity", "Softmax", "LogSoftmax"}  # what is no other layer
LABELS = {"ArgMax", "Gather"}  # how `to_model` looks the labels up
SCALES = {"Mul", "Sub"}  # and scales columns


def to_model(linear: Linear, path: PathLike | None) -> Any:
    """The model, also written to `path` if that is given."""
    onnx = load("onnx", extra="onnx")
    helper, array = onnx.helper, onnx.numpy_helper.from_array
    c, d = linear.weight.shape
    floats = helper.np_dtype_to_tensor_dtype(linear.weight.dtype)
    taken = onnx.TensorProto.UINT8 if linear.takes_pixels else floats
    classes = linear.classes.astype(object) if linear.classes.dtype.kind == "U" else linear.classes
    labels = array(classes, "classes")
    nodes, constants, rows = _before(helper, linear, floats)
    nodes += [
        helper.make_node("Gemm", [rows, "weight", "bias"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["index"], axis=1, keepdims=0),
        helper.make_node("Gather", ["classes", "index"], ["label"]),
    ]
    graph = helper.make_graph(
        nodes,
        "softmax_regression",
        [helper.make_tensor_value_info("X", taken, ["n", d])],
        [
            helper.make_tensor_value_info("label", labels.data_type, ["n"]),
            helper.make_tensor_value_info("probabilities", floats, ["n", c]),
        ],
        [
            *(array(constant, name) for name, constant in constants.items()),
            array(linear.weight, "weight"),
            array(linear.bias, "bias"),
            labels,
        ],
    )
    model = helper.make_model(
        graph,
        producer_name="softstep",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    helper.set_model_props(model, linear.metadata())
    onnx.checker.check_model(model)
    if path is not None:
        with atomic_write(path) as file:
            file.write(model.SerializeToString())
    return model


def _before(helper: Any, linear: Linear, floats: Any) -> tuple[list[Any], dict[str, Array], str]:
    """What comes before the Gemm: nodes, their constants, and the name of the rows that they give.

    Columns are scaled as the model scales them, (X - mean) · inverse.
    """
    nodes: list[Any] = []
    constants: dict[str, Array] = {}
    rows = "X"
    if linear.takes_pixels:
        nodes.append(helper.make_node("Cast", [rows], ["numbers"], to=floats))
        rows = "numbers"
    if linear.scaler is not None:
        both = {"mean": linear.scaler.mean, "inverse": linear.scaler.inverse}
        constants = {name: np.asarray(value, linear.weight.dtype) for name, value in both.items()}
        nodes.append(helper.make_node("Sub", [rows, "mean"], ["centred"]))
        nodes.append(helper.make_node("Mul", ["centred", "inverse"], ["scaled"]))
        rows = "scaled"
    return nodes, constants, rows


def named(source: Any) -> str:
    """What a source is called in a message: its path, or what it is."""
    is_path = isinstance(source, str | os.PathLike)
    return str(source) if is_path else f"this {type(source).__name__}"


def from_model(source: Any) -> Linear:
    """What a model, or the file of one, computes; DataError if it is no linear layer."""
    onnx, name = load("onnx", extra="onnx"), named(source)
    model = source if isinstance(source, onnx.ModelProto) else _parsed(onnx, source)
    metadata = {pair.key: pair.value for pair in model.metadata_props}
    try:
        ours = LABELS | SCALES if METADATA in metadata else set()
        gemm, steps = _gemm(model.graph, BESIDE | ours)
        weight, bias = _layer(onnx, gemm, model.graph)
        scaler = _scaler(onnx, steps, model.graph)
        return from_metadata(weight, bias, metadata, scaler)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{name}: {error}") from error


def _parsed(onnx: Any, path: PathLike) -> Any:
    from google.protobuf.message import DecodeError

    with archive.opened(path) as file:
        content = file.read()
    try:
        return onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise DataError(f"{path}: not an ONNX model, or a damaged one: {error}") from error


def _gemm(graph: Any, others: set[str]) -> tuple[Any, list[Any]]:
    """The one Gemm on the input of the graph, and what scales that before; all other nodes are of
    these types."""
    gemms = [node for node in graph.node if node.op_type == "Gemm"]
    strange = sorted({n.op_type for n in graph.node if n.domain or n.op_type not in others})
    if len(gemms) != 1 or strange:
        found = ", ".join(strange[:5]) or f"{len(gemms)} of Gemm"
        raise DataError(f"it is no single linear layer: it holds {found}")
    made = {name: node for node in graph.node for name in node.output}
    at = gemms[0].input[0]
    steps: list[Any] = []
    for _ in graph.node:  # at most, as an input may be its own origin
        if at not in made or made[at].op_type not in {"Cast", "Identity", *SCALES}:
            break
        if made[at].op_type in SCALES:
            steps.insert(0, made[at])
        at = made[at].input[0]
    if at not in {given.name for given in graph.input}:
        raise DataError("its linear layer is not on its input")
    if len(steps) != sum(node.op_type in SCALES for node in graph.node):
        raise DataError("it scales what is not the input of its linear layer")
    return gemms[0], steps


def _scaler(onnx: Any, steps: list[Any], graph: Any) -> Scaler | None:
    """By which columns are scaled: (X - mean) · inverse; None where there are no such steps."""
    if not steps:
        return None
    if [(node.op_type, len(node.input)) for node in steps] != [("Sub", 2), ("Mul", 2)]:
        raise DataError("it scales columns in another way than softstep")
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    mean, inverse = (_array(onnx, tensors[node.input[1]]).astype(np.float64) for node in steps)
    if not ((inverse > 0) & np.isfinite(inverse)).all():
        raise DataError("it divides columns by what is no number above 0")
    return Scaler(False, mean, 1 / inverse)


def _layer(onnx: Any, gemm: Any, graph: Any) -> tuple[Array, Array]:
    """weight (c, d) and bias (c,): alpha X weight + beta bias."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    told = {a.name: onnx.helper.get_attribute_value(a) for a in gemm.attribute}
    if told.get("transA"):
        raise DataError("its Gemm transposes its input")
    arrays = []
    for name in list(gemm.input)[1:3]:
        if name not in tensors:
            raise DataError(f"its {name[:40]!r} is not stored in it")
        arrays.append(_array(onnx, tensors[name]))
    if not arrays or arrays[0].ndim != 2:
        raise DataError("its weights are not of two dimensions")
    weight = arrays[0] if told.get("transB") else arrays[0].T
    bias = arrays[1] if len(arrays) == 2 else np.zeros(len(weight), weight.dtype)
    if bias.shape not in ((len(weight),), (1, len(weight))):
        raise DataError(f"its bias has the shape {bias.shape}")
    alpha, beta = np.float64(told.get("alpha", 1.0)), np.float64(told.get("beta", 1.0))
    dtype = weight.dtype
    return (alpha * weight).astype(dtype), (beta * bias.reshape(-1)).astype(dtype)


def _array(onnx: Any, tensor: Any) -> Array:
    """A stored tensor of floats, if it has as many values as its shape says."""
    types, name, shape = onnx.TensorProto, tensor.name[:40], tuple(tensor.dims)
    if tensor.data_type not in (types.FLOAT, types.DOUBLE):
        raise DataError(f"its {name!r} does not hold float32 or float64")
    if tensor.data_location != types.DEFAULT or tensor.external_data:
        raise DataError(f"its {name!r} is in another file, which is not read")
    size = 4 if tensor.data_type == types.FLOAT else 8
    plain = tensor.float_data if size == 4 else tensor.double_data
    stored = len(tensor.raw_data) / size if tensor.raw_data else len(plain)
    if any(length < 1 for length in shape) or math.prod(shape) != stored:
        raise DataError(f"its {name!r} says {shape}, but holds {stored:g} values")
    found: Array = onnx.numpy_helper.to_array(tensor)
    return found
