"""Makes a quantised ONNX graph into one that any runtime takes at any picture size.

Model zoos ship weights as 8-bit blocks that the graph expands at every start. Here that is done
once: whatever depends on constants alone is computed and stored. What is left is the plain float
network, whose height and width become free. Values are unchanged; only the file grows.
"""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from contracts.errors import InvalidInput

_NCHW_RANK = 4


def normalise(model_bytes: bytes, *, sides: tuple[str, str] = ("height", "width")) -> bytes:
    """Fold constants, drop what nothing uses, and free the picture's sides.

    Args:
        model_bytes: a serialised ModelProto whose single true input is a picture, NCHW.
        sides: names of the free dimensions.

    Raises:
        InvalidInput: not an ONNX model, or not of that shape.
    """
    try:
        model = onnx.load_from_string(model_bytes)
    except Exception as exc:
        raise InvalidInput("not an ONNX file", field="model") from exc
    constants = _fold(model)
    _drop_unused(model.graph, constants)
    _free_sides(model.graph, sides)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _fold(model: ModelProto) -> dict[str, TensorProto]:
    """Compute every node whose inputs are all constant; leaves the others in the graph."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    remaining = []
    for node in model.graph.node:
        inputs = [name for name in node.input if name]
        if node.op_type != "Constant" and not (inputs and all(n in constants for n in inputs)):
            remaining.append(node)
            continue
        for tensor in _compute(model, node, [constants[n] for n in inputs]):
            constants[tensor.name] = tensor
    del model.graph.node[:]
    model.graph.node.extend(remaining)
    return constants


def _compute(
    model: ModelProto, node: NodeProto, inputs: Iterable[TensorProto]
) -> list[TensorProto]:
    # Types of the outputs are left open: the evaluator finds them.
    outputs = [helper.make_value_info(name, onnx.TypeProto()) for name in node.output]
    graph = helper.make_graph([node], "fold", [], outputs, list(inputs))
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    values = ReferenceEvaluator(alone).run(None, {})
    return [
        numpy_helper.from_array(np.asarray(value), name)
        for name, value in zip(node.output, values, strict=True)
    ]


def _drop_unused(graph: GraphProto, constants: dict[str, TensorProto]) -> None:
    used = {name for node in graph.node for name in node.input}
    inputs = [i for i in graph.input if i.name in used and i.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)
    del graph.initializer[:]
    graph.initializer.extend(t for name, t in constants.items() if name in used)
    # Shapes of intermediate values were those of one picture size.
    del graph.value_info[:]


def _free_sides(graph: GraphProto, sides: tuple[str, str]) -> None:
    if len(graph.input) != 1:
        names = [i.name for i in graph.input]
        raise InvalidInput(f"has the inputs {names}, wanted one picture", field="model.input")
    dims = graph.input[0].type.tensor_type.shape.dim
    if len(dims) != _NCHW_RANK:
        raise InvalidInput(f"has rank {len(dims)}, wanted NCHW", field="model.input")
    for dim, name in zip(dims[2:], sides, strict=True):
        dim.dim_param = name
    for output in graph.output:
        for index, dim in enumerate(output.type.tensor_type.shape.dim[1:2]):
            dim.dim_param = f"{output.name}_{index}"
