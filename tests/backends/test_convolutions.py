"""Two convolutions through the points of polynomials: what torch computes, to rounding, with all derivatives."""

import pytest
import torch
from torch.nn.functional import conv2d

from diffeo.backends.convolutions import TwoConvolutions
from diffeo.backends.cpu import convolutions, toom
from tests.oracles import cloud, relative


def drawn(*shape, dtype=torch.float64, seed=0):
    """Normal numbers in any shape."""
    return cloud(1, torch.Size(shape).numel(), dtype, seed).reshape(shape)


def plain(images, inner, outer):
    """The definition."""
    return conv2d(conv2d(images, inner, padding=1).relu(), outer, padding=1)


uneven = pytest.param(3, 4, 9, 8, 10, marks=pytest.mark.slow)  # compiles for three numbers of channels
SIZES = [(5, 5, 8, 8, 8), uneven]  # h, w and the channels before, between and after
sizes = pytest.mark.parametrize(("h", "w", "c", "m", "e"), SIZES)


@pytest.fixture
def small(monkeypatch):
    """Chunks of a few images, of which there are several."""
    monkeypatch.setattr(convolutions, "CHUNK", 20)


@sizes
def test_values_and_gradients_are_those_of_torch(h, w, c, m, e, small):
    images, inner, outer = drawn(101, c, h, w), drawn(m, c, 3, 3, seed=1), drawn(e, m, 3, 3, seed=2)
    inputs = [t.requires_grad_() for t in (images, inner, outer)]
    fused = TwoConvolutions(inner, outer, (h, w))
    assert fused.matrices is not None
    value, expected, cotangent = fused(images), plain(images, inner, outer), drawn(101, e, h, w, seed=3)
    assert relative(value, expected) < 1e-12
    found = torch.autograd.grad(value, inputs, cotangent)
    for g, other in zip(found, torch.autograd.grad(expected, inputs, cotangent), strict=True):
        assert relative(g, other) < 1e-11


@sizes
def test_gradients_of_gradients_are_those_of_torch(h, w, c, m, e):
    images, inner, outer = drawn(101, c, h, w), drawn(m, c, 3, 3, seed=1), drawn(e, m, 3, 3, seed=2)
    inputs = [t.requires_grad_() for t in (images, inner, outer)]
    cotangent = drawn(101, e, h, w, seed=3)

    def second(value):
        first = torch.autograd.grad(value, inputs, cotangent, create_graph=True)
        return torch.autograd.grad(torch.stack([g.square().sum() for g in first]).sum(), inputs)

    found = second(TwoConvolutions(inner, outer, (h, w))(images))
    for g, other in zip(found, second(plain(images, inner, outer)), strict=True):
        assert relative(g, other) < 1e-11


def test_only_what_is_asked_for_is_differentiated():
    images, inner, outer = drawn(50, 8, 5, 5), drawn(8, 8, 3, 3, seed=1), drawn(8, 8, 3, 3, seed=2)
    for k, wanted in enumerate((images, inner, outer)):
        parts = [t.detach().clone().requires_grad_(j == k) for j, t in enumerate((images, inner, outer))]
        value = TwoConvolutions(parts[1], parts[2], (5, 5))(parts[0])
        value.square().sum().backward()
        expected = torch.autograd.grad(plain(*parts).square().sum(), parts[k])[0]
        assert [p.grad is not None for p in parts] == [j == k for j in range(3)]
        assert relative(parts[k].grad, expected) < 1e-11
        assert wanted.grad is None


@pytest.mark.slow
def test_single_precision_is_as_good_as_it_says():
    images, inner, outer = drawn(64, 8, 5, 5), drawn(8, 8, 3, 3, seed=1), drawn(8, 8, 3, 3, seed=2)
    value = TwoConvolutions(inner.float(), outer.float(), (5, 5))(images.float())
    assert value.dtype == torch.float32
    assert relative(value, plain(images, inner, outer)) < 1e-5


def test_threads_share_the_images():
    images, inner, outer = drawn(200, 8, 5, 5), drawn(8, 8, 3, 3, seed=1), drawn(8, 8, 3, 3, seed=2)
    threads, fused = torch.get_num_threads(), TwoConvolutions(inner, outer, (5, 5))
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(fused(images))
    finally:
        torch.set_num_threads(threads)
    assert relative(*results) < 1e-13


@pytest.mark.parametrize("n", range(toom.SMALLEST, toom.LARGEST + 1))
def test_interpolation_gives_back_what_a_convolution_is(n):
    evaluate, taps, interpolate = toom.transforms(n)
    x, h = drawn(n, seed=n).numpy(), drawn(3, seed=1).numpy()
    row = interpolate @ ((taps @ h) * (evaluate @ x))
    image, reversed_taps = torch.from_numpy(x)[None, None, None], torch.from_numpy(h[::-1].copy())[None, None, None]
    expected = conv2d(image, reversed_taps, padding=(0, 1))
    torch.testing.assert_close(torch.from_numpy(row), expected[0, 0, 0], rtol=1e-11, atol=1e-12)


def test_what_the_loops_do_not_cover_goes_to_torch():
    for shape, k, dtype in (
        ((4, 5, 5), 3, torch.float64),
        ((8, 9, 5), 3, torch.float64),
        ((8, 5, 5), 5, torch.float64),
    ):
        inner, outer = drawn(8, shape[0], k, k, dtype=dtype), drawn(8, 8, k, k, dtype=dtype)
        assert TwoConvolutions(inner, outer, shape[1:]).matrices is None
    images = drawn(3, 8, 5, 5)
    taps = drawn(8, 8, 3, 3)
    few = TwoConvolutions(taps, taps, (5, 5))
    assert torch.equal(few(images), plain(images, taps, taps))
