"""An OpenVINO network as an ONNX graph: the operators that embedding networks are made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from reid.bundle import BundleError

_SAME = {
    "Relu": "Relu", "Sigmoid": "Sigmoid", "Tanh": "Tanh", "Exp": "Exp", "Sqrt": "Sqrt", "Abs": "Abs",
    "Erf": "Erf", "Add": "Add", "Subtract": "Sub", "Multiply": "Mul", "Divide": "Div", "Power": "Pow",
    "Maximum": "Max", "Minimum": "Min", "HSwish": "HardSwish", "SoftPlus": "Softplus",
}  # fmt: skip
_REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2")


def read_ir(path: Path) -> onnx.ModelProto:
    """The network of an .xml with its .bin beside it: float32 [B,C,H,W] in, with any B, one output.

    Raises BundleError for a file that OpenVINO cannot read, for other inputs and for an operator that has no
    counterpart here.
    """
    import openvino

    try:
        model = openvino.Core().read_model(str(path))
        shape = model.input(0).partial_shape
        model.reshape({model.input(0): [-1, *list(shape)[1:]]})
    except RuntimeError as error:
        raise BundleError(f"{path} is no network that OpenVINO can read: {_last_line(error)}") from error
    if len(model.inputs) != 1 or len(shape) != 4 or not all(size.is_static for size in list(shape)[1:]):
        raise BundleError(
            f"{path} takes {len(model.inputs)} inputs, the first {shape}; a wrap needs one [N,3,H,W]"
        )
    return _Translation(path).of(model)


class _Translation:
    """One graph in the making."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.translators: dict[str, Callable[[Any, list[str], str], None]] = {
            "Convert": self._convert,
            "Convolution": self._convolution,
            "GroupConvolution": self._convolution,
            "MaxPool": self._pool,
            "AvgPool": self._pool,
            "MVN": self._mvn,
            "MatMul": self._matmul,
            "BatchNormInference": self._batchnorm,
            "PRelu": self._prelu,
            "ShapeOf": lambda op, inputs, out: self._node("Shape", inputs, out),
            "Reshape": self._reshape,
            "Swish": self._swish,
            "SoftMax": self._softmax,
            "Softmax": self._softmax,
            "Squeeze": lambda op, inputs, out: self._node("Squeeze", inputs, out),
            "Unsqueeze": lambda op, inputs, out: self._node("Unsqueeze", inputs, out),
            "Concat": lambda op, inputs, out: self._node(
                "Concat", inputs, out, axis=op.get_attributes()["axis"]
            ),
            "Clamp": self._clamp,
            "Transpose": self._transpose,
            "Gather": self._gather,
        }

    def of(self, model: Any) -> onnx.ModelProto:
        """The whole graph."""
        [given] = model.inputs
        graph_input, size = "", _sizes(given)
        for op in model.get_ordered_ops():
            kind, out = op.get_type_name(), _name(op.output(0)) if op.get_output_size() else ""
            inputs = [_name(value.get_source_output()) for value in op.inputs()]
            if kind == "Parameter":
                graph_input = out
            elif kind == "Constant":
                self.constants[out] = _usual(op.data)
            elif kind == "Result":
                result = inputs[0]
            elif kind in _SAME:
                self._node(_SAME[kind], inputs, out)
            elif kind in _REDUCTIONS:
                self._node(kind, inputs, out, keepdims=int(op.get_attributes()["keep_dims"]))
            elif kind in self.translators:
                self.translators[kind](op, inputs, out)
            else:
                raise BundleError(
                    f"{self.path} has the operator {kind}, which cannot be wrapped; wrap its .onnx"
                )
        read = {name for node in self.nodes for name in node.input}
        graph = helper.make_graph(
            self.nodes,
            self.path.stem,
            [helper.make_tensor_value_info(graph_input, TensorProto.FLOAT, ["batch", *size])],
            [helper.make_tensor_value_info(result, TensorProto.FLOAT, ["batch", *_sizes(model.output(0))])],
            [
                numpy_helper.from_array(values, name)
                for name, values in self.constants.items()
                if name in read
            ],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)

    def _node(self, kind: str, inputs: list[str], out: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [out], **attributes))

    def _constant(self, name: str, values: np.ndarray) -> str:
        self.constants[name] = np.ascontiguousarray(values)
        return name

    def _value(self, name: str) -> np.ndarray:
        """A constant's values. Raises BundleError where they are computed."""
        if name not in self.constants:
            raise BundleError(
                f"{self.path} computes {name}, which can only be wrapped as a constant; wrap its .onnx"
            )
        return self.constants[name]

    def _convert(self, op: Any, inputs: list[str], out: str) -> None:
        kind = np.dtype(op.get_output_element_type(0).to_dtype())
        if inputs[0] in self.constants:  # half-precision weights
            self._constant(out, _usual(self.constants[inputs[0]].astype(kind)))
        else:
            target = TensorProto.FLOAT if kind.kind == "f" else TensorProto.INT64
            self._node("Cast", inputs, out, to=target)

    def _convolution(self, op: Any, inputs: list[str], out: str) -> None:
        kernel, groups = self._value(inputs[1]), 1
        if op.get_type_name() == "GroupConvolution":  # [G,O/G,I/G,k,k] -> [O,I/G,k,k]
            groups, kernel = kernel.shape[0], kernel.reshape(-1, *kernel.shape[2:])
        weight = self._constant(f"{out}.weight", kernel)
        attributes = op.get_attributes()
        window = {"strides": list(attributes["strides"]), "dilations": list(attributes["dilations"])}
        self._node("Conv", [inputs[0], weight], out, group=groups, **window, **self._padding(op))

    def _pool(self, op: Any, inputs: list[str], out: str) -> None:
        attributes = op.get_attributes()
        window: dict[str, Any] = {
            "kernel_shape": list(attributes["kernel"]),
            "strides": list(attributes["strides"]),
        }
        window |= {"ceil_mode": int(attributes["rounding_type"] == "ceil")}
        if op.get_type_name() == "AvgPool":
            window["count_include_pad"] = int(not attributes["exclude-pad"])
        else:
            window["dilations"] = list(attributes.get("dilations", [1, 1]))
        kind = "AveragePool" if op.get_type_name() == "AvgPool" else "MaxPool"
        self._node(kind, inputs[:1], out, **window, **self._padding(op))

    def _padding(self, op: Any) -> dict[str, Any]:
        attributes = op.get_attributes()
        if attributes["auto_pad"] in ("same_upper", "same_lower"):
            return {"auto_pad": attributes["auto_pad"].upper()}
        if attributes["auto_pad"] == "valid":
            return {"pads": [0, 0, 0, 0]}
        return {"pads": [*attributes["pads_begin"], *attributes["pads_end"]]}

    def _mvn(self, op: Any, inputs: list[str], out: str) -> None:
        """(x - mean) / sqrt(variance + eps), or without the division."""
        attributes = op.get_attributes()
        axes = self._constant(f"{out}.axes", np.asarray(self._value(inputs[1]), np.int64).reshape(-1))
        scaled = bool(attributes["normalize_variance"])
        self._node("ReduceMean", [inputs[0], axes], f"{out}.mean")
        self._node("Sub", [inputs[0], f"{out}.mean"], f"{out}.moved" if scaled else out)
        if not scaled:
            return
        eps = self._constant(f"{out}.eps", np.array(attributes["eps"], np.float32))
        self._node("Mul", [f"{out}.moved", f"{out}.moved"], f"{out}.square")
        self._node("ReduceMean", [f"{out}.square", axes], f"{out}.variance")
        if attributes["eps_mode"].upper().startswith("INSIDE"):
            self._node("Add", [f"{out}.variance", eps], f"{out}.shifted")
            self._node("Sqrt", [f"{out}.shifted"], f"{out}.deviation")
        else:
            self._node("Sqrt", [f"{out}.variance"], f"{out}.root")
            self._node("Add", [f"{out}.root", eps], f"{out}.deviation")
        self._node("Div", [f"{out}.moved", f"{out}.deviation"], out)

    def _matmul(self, op: Any, inputs: list[str], out: str) -> None:
        attributes = op.get_attributes()
        names = list(inputs)
        for place, key in enumerate(("transpose_a", "transpose_b")):
            if attributes[key]:
                values = np.swapaxes(self._value(inputs[place]), -1, -2)
                names[place] = self._constant(f"{out}.{key}", values)
        self._node("MatMul", names, out)

    def _batchnorm(self, op: Any, inputs: list[str], out: str) -> None:
        if op.get_type_info().version_id == "opset1":  # gamma, beta, data, mean, variance
            inputs = [inputs[place] for place in (2, 0, 1, 3, 4)]
        self._node("BatchNormalization", inputs, out, epsilon=float(op.get_attributes()["epsilon"]))

    def _prelu(self, op: Any, inputs: list[str], out: str) -> None:
        slope = self._value(inputs[1])
        rank = len(op.input(0).get_partial_shape())
        shape = (1,) if slope.size == 1 else (-1, *[1] * (rank - 2))  # one for each channel
        self._node("PRelu", [inputs[0], self._constant(f"{out}.slope", slope.reshape(shape))], out)

    def _reshape(self, op: Any, inputs: list[str], out: str) -> None:
        """A constant shape that begins with 1 means one image: the size of the batch stays as it is."""
        shape = self.constants.get(inputs[1])
        if shape is not None and len(shape) > 1 and shape[0] == 1 and inputs[0] not in self.constants:
            inputs = [inputs[0], self._constant(f"{out}.shape", np.array([0, *shape[1:]], np.int64))]
        self._node("Reshape", inputs, out)

    def _swish(self, op: Any, inputs: list[str], out: str) -> None:
        """x * sigmoid(beta * x); beta is 1 where it is left out."""
        scaled = inputs[0]
        if len(inputs) > 1:
            scaled = f"{out}.scaled"
            self._node("Mul", inputs, scaled)
        self._node("Sigmoid", [scaled], f"{out}.gate")
        self._node("Mul", [inputs[0], f"{out}.gate"], out)

    def _softmax(self, op: Any, inputs: list[str], out: str) -> None:
        self._node("Softmax", inputs, out, axis=int(op.get_attributes()["axis"]))

    def _clamp(self, op: Any, inputs: list[str], out: str) -> None:
        limits = [
            self._constant(f"{out}.{key}", np.array(op.get_attributes()[key], np.float32))
            for key in ("min", "max")
        ]
        self._node("Clip", [inputs[0], *limits], out)

    def _transpose(self, op: Any, inputs: list[str], out: str) -> None:
        self._node("Transpose", inputs[:1], out, perm=[int(axis) for axis in self._value(inputs[1])])

    def _gather(self, op: Any, inputs: list[str], out: str) -> None:
        self._node("Gather", inputs[:2], out, axis=int(self._value(inputs[2]).reshape(-1)[0]))


def _name(output: Any) -> str:
    node = output.get_node()
    return (
        node.get_friendly_name()
        if output.get_index() == 0
        else f"{node.get_friendly_name()}:{output.get_index()}"
    )


def _sizes(value: Any) -> list[int | None]:
    """Sizes of all dimensions but the first; None for those that only the runtime knows."""
    return [size.get_length() if size.is_static else None for size in list(value.partial_shape)[1:]]


def _usual(values: np.ndarray) -> np.ndarray:
    """float32 for floats, int64 for integers: what ONNX's operators take without a thought."""
    values = np.array(values)
    return values.astype(np.float32 if values.dtype.kind == "f" else np.int64)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()[:200]
