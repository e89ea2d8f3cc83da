"""A small notation for ONNX graphs written by hand: one call a node, one name a value.

Knows nothing of any model. Maps are (N, C, H, W) float32. What it does not do: shape inference,
optimisation; the runtime does both.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, checker, helper, numpy_helper

OPSET = 18
"""The last whose AveragePool ONNX Runtime computes with vector instructions."""
IR_VERSION = 10
"""The newest pair that onnxruntime 1.22, the oldest supported, reads."""

END = 2**40
"""`Slice` to the end of an axis, whatever its length."""

Value = str | float
"""The name of a value in the graph, or a number that becomes a constant."""


class Graph:
    """Collects nodes in order; equal constants are stored once."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: dict[tuple[bytes, str, tuple[int, ...]], str] = {}
        self._tensors: list[TensorProto] = []
        self._switches: list[str] = []
        self._made = 0

    def constant(self, array: NDArray[np.float32 | np.int64 | np.bool_]) -> str:
        """The name under which `array` is stored."""
        key = (array.tobytes(), array.dtype.str, array.shape)
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[key] = name
            self._tensors.append(numpy_helper.from_array(array, name))
        return self._constants[key]

    def named(self, name: str, weights: Mapping[str, NDArray[np.floating[Any]]]) -> str:
        """The weight `name`, stored under it, so that it can be read back from the file."""
        if name not in {tensor.name for tensor in self._tensors}:
            self._tensors.append(numpy_helper.from_array(weights[name], name))
        return name

    def ints(self, *values: int) -> str:
        """A constant int64 vector: axes, pads, starts, ends."""
        return self.constant(np.array(values, np.int64))

    def integer(self, value: int) -> str:
        """A constant int64."""
        return self.constant(np.array(value, np.int64))

    def op(self, kind: str, *inputs: Value, name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        names = (name or self._name(kind),)
        return self.ops(kind, *inputs, names=names, **attributes)[0]

    def ops(
        self,
        kind: str,
        *inputs: Value,
        names: Sequence[str],
        **attributes: Any,
    ) -> list[str]:
        """Add a node with several outputs and return their names."""
        values = [
            each if isinstance(each, str) else self.constant(np.array(each, np.float32))
            for each in inputs
        ]
        self._nodes.append(helper.make_node(kind, values, list(names), name=names[0], **attributes))
        self._made += 1
        return list(names)

    def switch(self, name: str) -> str:
        """An input that is false where nobody feeds it."""
        self._switches.append(name)
        self._tensors.append(numpy_helper.from_array(np.array(False), name))
        return name

    def either(
        self,
        condition: str,
        then: Callable[[], Sequence[str]],
        otherwise: Callable[[], Sequence[str]],
    ) -> list[str]:
        """The values that `then` makes where the condition, one bool, is true, else those that
        `otherwise` makes: as many. Only the nodes of one of them run.
        """
        branches, outputs = {}, 0
        for branch, make in (("then_branch", then), ("else_branch", otherwise)):
            outer, self._nodes = self._nodes, []
            made = [helper.make_empty_tensor_value_info(each) for each in make()]
            branches[branch] = helper.make_graph(self._nodes, branch, [], made)
            outputs, self._nodes = len(made), outer
        first = self._name("If")
        names = [f"{first}_{number}" for number in range(outputs)]
        return self.ops("If", condition, names=names, **branches)

    def _name(self, kind: str) -> str:
        """One that no other node has, in a branch or not."""
        return f"{kind}_{self._made}"

    def number(self, condition: str) -> str:
        """A bool map as 0.0 and 1.0."""
        return self.op("Cast", condition, to=TensorProto.FLOAT)

    def whole(self, numbers: str) -> str:
        """Numbers cut to int64."""
        return self.op("Cast", numbers, to=TensorProto.INT64)

    def box_sum(self, maps: str, radius: int) -> str:
        """Sum over the (2 radius + 1)² neighbours of every element, zero outside the map.

        Rows, then columns, by shifted slices: on one thread this beats AveragePool and Conv on
        few channels by 2 to 10 times.
        """
        for axis in (2, 3):
            pads = [0] * 8
            pads[axis] = pads[axis + 4] = radius
            padded = self.op("Pad", maps, self.ints(*pads))
            shifted = [
                self.op(
                    "Slice",
                    padded,
                    self.ints(shift),
                    self.ints(shift - 2 * radius or END),
                    self.ints(axis),
                )
                for shift in range(2 * radius + 1)
            ]
            maps = self.op("Sum", *shifted)
        return maps

    def means(self, maps: str, size: int) -> str:
        """Means over squares of size x size places, one beside the other."""
        shape = (size, size)
        return self.op("AveragePool", maps, kernel_shape=shape, strides=shape)

    def means_around(self, maps: str, size: int) -> str:
        """Means over the size x size places around each, `size` odd; 0 beyond the border counts."""
        pads = (size // 2,) * 4
        shape = (size, size)
        return self.op("AveragePool", maps, kernel_shape=shape, pads=pads, count_include_pad=1)

    def shift(self, padded: str, radius: int, rows: int, cols: int) -> str:
        """The map that was padded by `radius`, seen from (rows, cols) further on."""
        return self.op(
            "Slice",
            padded,
            self.ints(radius + rows, radius + cols),
            self.ints(rows - radius or END, cols - radius or END),
            self.ints(2, 3),
        )

    def model(
        self,
        name: str,
        inputs: dict[str, Sequence[str | int]],
        outputs: dict[str, Sequence[str | int]],
        description: str,
    ) -> ModelProto:
        """A checked model; inputs and outputs map names to float32 shapes, numbers or words."""
        graph = helper.make_graph(
            self._nodes,
            name,
            [
                *(_described(each, shape) for each, shape in inputs.items()),
                *(
                    helper.make_tensor_value_info(each, TensorProto.BOOL, ())
                    for each in self._switches
                ),
            ],
            [_described(each, shape) for each, shape in outputs.items()],
            self._tensors,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="hitfinder",
            doc_string=description,
        )
        checker.check_model(model, full_check=True)
        return model

    def stage(self, name: str, maps: str, shape: tuple[int, ...]) -> bytes:
        """What was added so far as a model of its own, serialized: `image` (N, H, W) → `name`, of
        (N, *shape).
        """
        self.op("Identity", maps, name=name)
        model = self.model(name, {"image": ("N", "H", "W")}, {name: ("N", *shape)}, name)
        content: bytes = model.SerializeToString(deterministic=True)
        return content


def _described(name: str, shape: Sequence[str | int]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
