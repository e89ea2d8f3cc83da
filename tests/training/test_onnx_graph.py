"""The notation for graphs: what is easy to get wrong about a graph in a graph."""

from typing import Any

import numpy as np
import pytest

from hitfinder.inference.sessions import cpu_session
from hitfinder.training.onnx_graph import Graph


def halves_or_both() -> Any:
    """Of `image`: half and negative where `halved`, else the image and its double."""
    g = Graph()

    def then() -> list[str]:
        half = g.op("Mul", "image", 0.5)
        return [half, g.op("Neg", half)]

    def otherwise() -> list[str]:
        return [g.op("Identity", "image"), g.op("Add", "image", "image")]

    first, second = g.either(g.switch("halved"), then, otherwise)
    g.op("Add", g.op("Mul", first, 10.0), second, name="found")
    return g.model("either", {"image": ("N",)}, {"found": ("N",)}, "Either.")


@pytest.mark.parametrize(("fed", "wanted"), [({"halved": np.array(True)}, 4.5), ({}, 12.0)])
def test_one_of_two_ways_is_gone_and_the_second_where_nothing_is_said(
    fed: dict[str, Any], wanted: float
) -> None:
    session = cpu_session(halves_or_both().SerializeToString())
    found = session.run(None, {"image": np.ones(3, np.float32), **fed})[0]
    np.testing.assert_allclose(found, np.full(3, wanted))


def test_no_two_nodes_share_a_name() -> None:
    nodes = list(halves_or_both().graph.node)
    for node in list(nodes):
        nodes += [inner for each in node.attribute for inner in each.g.node]
    assert len(nodes) == 7
    assert len({node.name for node in nodes}) == 7


def test_means_around_count_what_lies_beyond_the_border_as_nothing() -> None:
    g = Graph()
    g.op("Identity", g.means_around("image", 3), name="found")
    model = g.model("means", {"image": (1, 1, 2, 3)}, {"found": (1, 1, 2, 3)}, "Means.")
    image = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
    found = cpu_session(model.SerializeToString()).run(None, {"image": image})[0]
    np.testing.assert_allclose(9 * found[0, 0], [[8, 15, 12], [8, 15, 12]])
