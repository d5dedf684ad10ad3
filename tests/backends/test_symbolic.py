"""Formulas as graphs: nothing is computed twice, and one loop serves all scales."""

import pytest

from diffeo.backends import formulas
from diffeo.backends.cpu.codegen import loop_source, module_source
from diffeo.backends.symbolic import Graph, Trace, trace
from diffeo.kernels import CauchyKernel, GaussianKernel, Matern52Kernel
from tests import zoo
from tests.backends.inputs import FORMULAS, jets, widths


def operations(traced: Trace, op: str) -> int:
    return sum(node.op == op for node in traced.graph.nodes)


def product(kernel) -> Trace:
    return trace(formulas.product, (kernel,), (3,), (3, 3))


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.name)
@pytest.mark.parametrize("kernel", zoo.KERNELS, ids=zoo.named)
def test_one_loop_serves_all_scales(formula, kernel):
    """So that nothing is compiled when a scale changes; constants that happen to be equal are the exception."""
    scaled = kernel.rescaled(1.3711), kernel.rescaled(0.9173)
    a, b = (trace(formula, jets(formula, k), *widths(formula, 3)) for k in scaled)
    assert loop_source(a) == loop_source(b)
    assert a.graph.constants != b.graph.constants


@pytest.mark.parametrize("widest", [0.8, 0.3, 0.7, 1 / 3, 123.4, 16.0])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_kernels_of_halving_width_cost_one_exponential(widest, count):
    kernel = GaussianKernel(widest)
    for k in range(1, count):
        kernel = kernel + (0.5 + k) * GaussianKernel(widest / 2**k)
    assert operations(product(kernel), "exp") == 1


def test_widths_that_are_halves_up_to_rounding_share_it_too():
    assert 0.1 * 1.5 != 0.15
    assert operations(product(GaussianKernel(0.3) + GaussianKernel(0.1 * 1.5)), "exp") == 1


def test_unrelated_widths_cost_one_exponential_each():
    assert operations(product(GaussianKernel(0.5) + GaussianKernel(0.37)), "exp") == 2
    assert operations(product(GaussianKernel(0.5) + GaussianKernel(0.5)), "exp") == 1
    assert operations(product(GaussianKernel(0.5) + Matern52Kernel(0.25)), "exp") == 2


def test_what_is_not_used_is_not_computed():
    """The product needs k alone, not its derivatives."""
    assert operations(product(CauchyKernel(0.5)), "div") == 1
    traced = trace(formulas.divergence, (GaussianKernel(0.5),), (3,), (3, 3))
    used = {arg for node in traced.graph.nodes for arg in node.args} | {i for output in traced.outputs for i in output}
    assert all(k in used for k, node in enumerate(traced.graph.nodes) if node.op not in ("input", "const"))


def test_equal_expressions_are_one_node():
    graph = Graph()
    a, b = (graph.add("input", label=name) for name in "ab")
    assert (a * b).index == (b * a).index
    assert (a + b).index == (b + a).index
    assert (a - b).index != (b - a).index
    assert (2 * (3 * a)).index == (6 * a).index
    assert (a / 2).index == (0.5 * a).index
    assert (1.0 * a).index == a.index
    assert (a**4).index == ((a * a) * (a * a)).index


@pytest.mark.parametrize("power", [0, -1, 0.5, 2.0])
def test_a_jet_may_use_whole_powers_only(power):
    with pytest.raises(TypeError, match="whole positive powers"):
        Graph().add("input", label="a") ** power


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_generated_module_is_python(dtype):
    compile(module_source(loop_source(product(GaussianKernel(0.5))), dtype), "generated", "exec")
