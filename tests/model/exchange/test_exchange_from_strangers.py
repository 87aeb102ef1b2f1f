"""Promise: a file of exchange that cannot be right is a DataError that names it."""

import json
import os
import struct

import numpy as np
import pytest

from softstep import SoftmaxRegression
from softstep.model.archive import DataError

onnx = pytest.importorskip("onnx")
safetensors = pytest.importorskip("safetensors.numpy")
X, Y = np.arange(24.0).reshape(8, 3) / 24, np.arange(8) % 3


@pytest.fixture(scope="module")
def model():
    return SoftmaxRegression(epochs=1, random_state=0, backend="numpy").fit(X, Y)


def refused(load, path, words):
    with pytest.raises(DataError) as info:
        load(path)
    message = str(info.value)
    assert words in message
    assert str(path) in message
    assert len(message) < 400
    assert "\n" not in message


WEIGHT, BIAS = np.ones((3, 2)), np.zeros(3)


def layer(**changes):
    tensors = {"weight": WEIGHT, "bias": BIAS} | changes.pop("tensors", {})
    about = {
        "classes": [0, 1, 2],
        "dtype": "int64",
        "feature_names": None,
        "feature_scale": 1.0,
        "learned_from": None,
    }
    tensors = {name: array for name, array in tensors.items() if array is not None}
    return safetensors.save(tensors, {"softstep": json.dumps(about | changes)})


def huge():
    """A header that says more than is there."""
    header = json.dumps(
        {"weight": {"dtype": "F64", "shape": [1 << 40, 2], "data_offsets": [0, 1 << 44]}}
    ).encode()
    return struct.pack("<Q", len(header)) + header


SAFETENSORS = {
    "nothing": (b"", "damaged"),
    "no such file": (b"\xff" * 64, "damaged"),
    "cut off": (layer()[:-5], "damaged"),
    "more than there is": (huge(), "damaged"),
    "no weight": (layer(tensors={"weight": None}), "it has bias"),
    "another tensor": (layer(tensors={"other": BIAS}), "it has bias, other, weight"),
    "integers": (layer(tensors={"weight": WEIGHT.astype(np.int32)}), "int32"),
    "three dimensions": (layer(tensors={"weight": np.ones((3, 2, 2))}), "(3, 2, 2)"),
    "a bias of another length": (layer(tensors={"bias": np.zeros(4)}), "a bias of (4,)"),
    "not a number": (layer(tensors={"bias": np.full(3, np.nan)}), "finite"),
    "one class": (layer(tensors={"weight": WEIGHT[:1], "bias": BIAS[:1]}, classes=[0]), "1"),
    "other classes": (layer(classes=[0, 1]), "2 classes"),
    "the same class twice": (layer(classes=[0, 1, 1]), "once"),
    "classes of another type": (layer(classes=["a", "b", "c"]), "type"),
    "classes too large": (layer(classes=[0, 1, 300], dtype="uint8"), "type"),
    "objects": (layer(dtype="object"), "type"),
    "no list": (layer(classes=7), "list"),
    "a scale of zero": (layer(feature_scale=0), "feature_scale"),
    "a scale in words": (layer(feature_scale="much"), "feature_scale"),
    "an unknown kind": (layer(learned_from="sounds"), "sounds"),
    "too few names": (layer(feature_names=["a"]), "names"),
    "names that are numbers": (layer(feature_names=[1, 2]), "text"),
    "metadata that are no JSON": (safetensors.save({"weight": WEIGHT}, {"softstep": "{"}), "JSON"),
    "metadata without classes": (safetensors.save({"weight": WEIGHT}, {"softstep": "{}"}), "names"),
}


@pytest.mark.parametrize("case", SAFETENSORS)
def test_safetensors(case, tmp_path):
    content, words = SAFETENSORS[case]
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    refused(SoftmaxRegression.from_safetensors, path, words)


def test_what_these_were_made_of_is_right(tmp_path):
    (tmp_path / "a").write_bytes(layer())
    assert SoftmaxRegression.from_safetensors(tmp_path / "a").coef_.tolist() == WEIGHT.tolist()


def damage_shape(proto):
    proto.graph.initializer[0].dims[0] = 1 << 40


def damage_negative(proto):
    proto.graph.initializer[0].dims[:] = [-3, -3]


def damage_external(proto):
    proto.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    entry = proto.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def damage_type(proto):
    proto.graph.initializer[0].data_type = onnx.TensorProto.INT64


def damage_layer(proto):
    proto.graph.node.append(onnx.helper.make_node("Gemm", ["logits", "weight"], ["more"]))


def damage_activation(proto):
    proto.graph.node.append(onnx.helper.make_node("Relu", ["logits"], ["more"]))


def damage_origin(proto):
    proto.graph.node[0].input[0] = "logits"


def damage_circle(proto):
    proto.graph.node[0].input[0] = "a"
    proto.graph.node.append(onnx.helper.make_node("Identity", ["a"], ["a"]))


def damage_name(proto):
    proto.graph.node[0].input[1] = "elsewhere"


def damage_transposed(proto):
    proto.graph.node[0].attribute.append(onnx.helper.make_attribute("transA", 1))


def damage_bias(proto):
    proto.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.zeros(5), "bias"))


def damage_metadata(proto):
    proto.metadata_props[0].value = "{}"


def damage_gone(proto):
    del proto.metadata_props[:]


ONNX = {
    damage_shape: "holds 9 values",
    damage_negative: "holds 9 values",
    damage_external: "another file",
    damage_type: "float32 or float64",
    damage_layer: "2 of Gemm",
    damage_activation: "Relu",
    damage_origin: "not on its input",
    damage_circle: "not on its input",
    damage_name: "elsewhere",
    damage_transposed: "transposes",
    damage_bias: "(5,)",
    damage_metadata: "feature_names",
    damage_gone: "ArgMax, Gather",
}


@pytest.mark.parametrize("damage", ONNX, ids=lambda damage: damage.__name__)
def test_onnx(damage, model, tmp_path):
    proto, path = model.to_onnx(), tmp_path / "a.onnx"
    damage(proto)
    path.write_bytes(proto.SerializeToString())
    refused(SoftmaxRegression.from_onnx, path, ONNX[damage])


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"not a model"])
def test_no_onnx_at_all(content, tmp_path):
    (tmp_path / "a.onnx").write_bytes(content)
    refused(SoftmaxRegression.from_onnx, tmp_path / "a.onnx", "a.onnx")


def test_a_model_of_other_tools_is_read(model, tmp_path):
    """As PyTorch writes a linear layer: weight (c, d), one Gemm, nothing else."""
    helper, array = onnx.helper, onnx.numpy_helper.from_array
    weight, bias = np.float32([[1, 2], [3, 4], [5, 7]]), np.float32([1, 0, -1])
    node = helper.make_node("Gemm", ["x", "w", "b"], ["out"], alpha=0.5, beta=2.0, transB=1)
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        "other",
        [helper.make_tensor_value_info("x", kind, ["n", 2])],
        [helper.make_tensor_value_info("out", kind, ["n", 3])],
        [array(weight, "w"), array(bias, "b")],
    )
    read = SoftmaxRegression.from_onnx(helper.make_model(graph))
    assert (read.coef_ == weight / 2).all()
    assert (read.intercept_ == bias * 2).all()
    assert read.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["onnx", "safetensors"])
def test_a_pipe_a_folder_and_no_file(name, tmp_path):
    load = getattr(SoftmaxRegression, f"from_{name}")
    os.mkfifo(tmp_path / "pipe")
    refused(load, tmp_path / "pipe", "a pipe")
    refused(load, tmp_path, "a folder")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")
