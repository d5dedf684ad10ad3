"""What every law is: a density of mass one, draws that follow it, derivatives, in any units and precision."""

import copy
import pickle

import pytest
import torch
from torch import Tensor

from diffeo.io import load, save
from diffeo.io.transform import decode, encode, load_map
from diffeo.laws import Gaussian, Mixture, TorchLaw, Transported, Uniform, Wrapped, unwrapped
from tests import zoo
from tests import zoo_of_learning as learning
from tests.oracles import cloud, distance, like, relative, slope

F64 = torch.float64
laws = pytest.mark.parametrize(("entry", "d"), zoo.plane_first(zoo.each(learning.LAWS)), ids=str)
flat = pytest.mark.parametrize(
    ("entry", "d"),
    zoo.plane_first([(entry, d) for entry, d in zoo.each(learning.LAWS) if d < 3 and entry.box]),
    ids=str,
)
CELLS = {1: 4000, 2: 160}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grid(entry, d) -> tuple[Tensor, float]:
    """Centers of the cells of the entry's box, and the volume of one."""
    axes = []
    for low, high in entry.box[:d]:
        step = (high - low) / CELLS[d]
        axes.append((low + step / 2 + step * torch.arange(CELLS[d], dtype=F64), step))
    x = torch.stack(torch.meshgrid(*[axis for axis, _ in axes], indexing="ij"), -1).reshape(-1, d)
    return x, float(torch.tensor([step for _, step in axes]).prod())


def within(law, n: int) -> Tensor:
    """Points where the law has mass."""
    return law.sample(n, seeded(1))


# ---- the density and the draws


@flat
def test_mass_is_one_and_draws_follow_the_density(entry, d):
    """The integral of p is 1; characteristic functions by quadrature are those of draws, within five errors."""
    law, (x, volume) = entry(d), grid(entry, d)
    with torch.no_grad():
        p = law.log_prob(x).exp() * volume
        assert float(p.sum()) == pytest.approx(1, abs=entry.integral)
        drawn = law.sample(3000, seeded())
    for direction in cloud(3, d, size=1.5):
        for wave in (torch.cos, torch.sin):
            values = wave(drawn @ direction)
            expected = float((p * wave(x @ direction)).sum())
            assert abs(float(values.mean()) - expected) < 5 * float(values.std()) / 3000**0.5 + entry.integral


@laws
def test_draws_follow_the_density_in_any_dimension(entry, d):
    """The mean of q/p over draws from p is 1 for a narrow q."""
    if not entry.everywhere:
        return  # mass of q would be lost; the test before sees these
    law = entry(d)
    with torch.no_grad():
        x = law.sample(4000, seeded())
        center = x[law.log_prob(x).argmax()]
        q = Gaussian(center, 0.3 * torch.eye(d, dtype=F64))
        ratio = (q.log_prob(x) - law.log_prob(x)).exp()
    assert abs(float(ratio.mean()) - 1) < 5 * float(ratio.std()) / 4000**0.5


@laws
def test_draws_are_those_of_the_generator(entry, d):
    law = entry(d)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = law.sample(5, seeded(3))
    assert first.shape == (5, d)
    assert torch.equal(law.sample(5, seeded(3)), first)
    assert not torch.equal(law.sample(5, seeded(4)), first)
    assert torch.equal(torch.get_rng_state(), state)
    generator = seeded(3)
    assert not torch.equal(law.sample(5, generator), law.sample(5, generator))
    without = law.sample(5)
    torch.manual_seed(5)
    assert torch.equal(law.sample(5), without)
    assert not first.requires_grad
    assert not without.requires_grad


@laws
def test_no_points_have_no_density(entry, d):
    law = entry(d)
    assert law.log_prob(cloud(3, d)[:0]).shape == (0,)
    assert law.sample(0).shape == (0, d)
    assert law.dim == d


@laws
def test_every_point_has_its_own_density(entry, d):
    law = entry(d)
    x = within(law, 6)
    assert distance(law.log_prob(x[2:4]), law.log_prob(x)[2:4]) < 1e-13
    assert torch.equal(law(x), law.log_prob(x))


# ---- derivatives


@laws
def test_gradients_by_finite_differences(entry, d):
    """In the points, and in all that is trained."""
    law = entry(d)
    x = within(law, 5).requires_grad_()
    unknowns = [x, *law.parameters()]
    weights = cloud(5, 1, seed=60)[:, 0]
    value = (weights * law.log_prob(x)).sum()
    if not value.requires_grad:
        assert isinstance(law, Uniform)
        return
    gradients = torch.autograd.grad(value, unknowns, allow_unused=True)
    for k, (p, gradient) in enumerate(zip(unknowns, gradients, strict=True)):
        start, direction = p.detach().clone(), 0.1 * like(p, seed=70 + k)

        def along(s, p=p, start=start, direction=direction):
            with torch.no_grad():
                p.copy_(start + s * direction)
                return float((weights * law.log_prob(x)).sum())

        expected = slope(along)
        along(0.0)
        found = 0.0 if gradient is None else float((gradient * direction).sum())
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_what_is_trained_is_a_parameter():
    for make in (learning.gaussian, learning.mixture):
        assert not list(make(False)(2, F64, 0).parameters())
        law = make(True)(2, F64, 0)
        (-law.log_prob(cloud(9, 2)).mean()).backward()
        assert all(p.grad is not None and bool(p.grad.any()) for p in law.parameters())


# ---- other units, other precisions, other places


@laws
def test_other_units_change_the_units_only(entry, d):
    law, shift = entry(d), 3 + cloud(1, d, seed=8)[0]
    x = within(law, 9)
    for factor in (0.2, 25.0):
        other = law.rescaled(factor, shift)
        assert isinstance(other, type(law))
        expected = law.log_prob(x) - d * torch.tensor(factor, dtype=F64).log()
        assert distance(other.log_prob(factor * x + shift), expected) < 1e-8
        drawn = other.sample(9, seeded(1))
        assert distance(drawn, factor * x + shift) < 1e-8 * factor
        assert [p.shape for p in other.parameters()] == [p.shape for p in law.parameters()]


@laws
def test_laws_come_back(entry, d, tmp_path):
    law = entry(d)
    x = within(law, 9)
    arguments = law.arguments()
    assert not any(isinstance(v, Tensor) and v.requires_grad for v in arguments.values())
    others = [type(law)(**arguments), copy.deepcopy(law), pickle.loads(pickle.dumps(law))]
    if entry.stated:
        others.append(entry(d, seed=2))
        assert distance(others[-1].log_prob(x), law.log_prob(x)) > 1e-3
        others[-1].load_state_dict(law.state_dict())
    if entry.saved:
        others.append(decode(encode(law)))
        save(tmp_path / "law.safetensors", law)
        others.append(load(tmp_path / "law.safetensors"))
        assert not any(p.requires_grad for p in others[-1].parameters())
        with pytest.raises(ValueError, match="holds a law"):
            load_map(tmp_path / "law.safetensors")
    else:
        with pytest.raises(ValueError, match="cannot be saved"):
            save(tmp_path / "law.safetensors", law)
    for other in others:
        assert type(other) is type(law)
        assert distance(other.log_prob(x), law.log_prob(x)) < 1e-12
        assert [p.shape for p in other.parameters()] == [p.shape for p in law.parameters()]


@laws
def test_precision_follows(entry, d):
    exact = entry(d)
    x = within(exact, 9)
    x = x.float()
    for law in (entry(d, torch.float32), entry(d).to(torch.float32)):
        drawn = law.sample(9, seeded(1))
        assert drawn.dtype == torch.float32
        value = law.log_prob(x)
        assert value.dtype == torch.float32
        assert distance(value, exact.log_prob(x.double())) < 1e-3


# ---- bad input


@laws
def test_what_is_asked_for_wrongly_is_named(entry, d):
    law = entry(d)
    for x in (cloud(4, d + 1), cloud(4, d)[0], torch.zeros(4, d, dtype=torch.int64)):
        with pytest.raises(ValueError, match=r"expect|knows"):
            law.log_prob(x)
    for n in (-1, 1.0, True, "3"):
        with pytest.raises(ValueError, match="draws a whole number"):
            law.sample(n)


EYE = torch.eye(2)
BUILT_WRONGLY = {
    "a mean that is a matrix": lambda: Gaussian(EYE),
    "a mean of integers": lambda: Gaussian(torch.zeros(2, dtype=torch.int64)),
    "a factor that is not triangular": lambda: Gaussian(torch.zeros(2), torch.ones(2, 2)),
    "a factor that is not positive": lambda: Gaussian(torch.zeros(2), -EYE),
    "weights that are not positive": lambda: Mixture(torch.tensor([1.0, 0.0]), EYE, EYE.expand(2, 2, 2)),
    "too few factors": lambda: Mixture(torch.ones(2), EYE, EYE[None]),
    "an empty box": lambda: Uniform(torch.zeros(2), torch.zeros(2)),
    "corners of two shapes": lambda: Uniform(torch.zeros(2), torch.ones(3)),
    "a batch of distributions": lambda: TorchLaw(torch.distributions.Normal(torch.zeros(2, 2), 1.0)),
    "counts": lambda: TorchLaw(torch.distributions.Poisson(torch.ones(2))),
    "shares, which lie in a plane": lambda: TorchLaw(torch.distributions.Dirichlet(torch.ones(3))),
    "a period too few": lambda: Wrapped(Gaussian.standard(2), torch.ones(1)),
    "a period that is none": lambda: Wrapped(Gaussian.standard(2), torch.tensor([1.0, 0.0])),
    "periods much shorter than the law": lambda: Wrapped(Gaussian.standard(2), torch.tensor([0.01, 0.01])),
    "nothing to unwrap": lambda: unwrapped(EYE[:0], torch.ones(2)),
    "too few periods": lambda: unwrapped(EYE, torch.ones(1)),
}


@pytest.mark.parametrize("name", BUILT_WRONGLY)
def test_laws_that_make_no_sense_are_refused_in_one_sentence(name):
    with pytest.raises(ValueError, match=r"expects|would") as caught:
        BUILT_WRONGLY[name]()
    assert "\n" not in str(caught.value)


def test_points_in_a_plane_have_no_density():
    x = cloud(30, 2)
    with pytest.raises(ValueError, match="fewer than 3 dimensions"):
        Gaussian.fitted(torch.cat([x, x[:, :1]], 1))


# ---- answers


def test_a_fitted_gaussian_has_the_moments_of_the_points():
    x = cloud(40, 3) @ cloud(3, 3, seed=1) + 2
    law = Gaussian.fitted(x)
    assert relative(law.mean, x.mean(0)) < 1e-13
    assert relative(law.factor @ law.factor.T, torch.cov(x.T, correction=0)) < 1e-12


def test_gaussians_and_mixtures_are_those_of_torch():
    law, x = learning.mixture(False)(3, F64, 0), cloud(9, 3, size=2.0)
    parts = torch.distributions.MultivariateNormal(law.means, scale_tril=law.factors)
    same = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(law.weights), parts)
    assert distance(law.log_prob(x), same.log_prob(x)) < 1e-12
    for k in range(3):
        one = Gaussian(law.means[k], law.factors[k])
        assert distance(law.components(x)[:, k] - law.weights[k].log(), one.log_prob(x)) < 1e-12


def test_outside_its_support_a_law_of_torch_has_no_density():
    gamma = torch.distributions.Gamma(torch.full((2,), 3.0), 1.0)
    law, x = TorchLaw(gamma), torch.tensor([[1.0, 2.0], [-1.0, 2.0], [1.0, -0.5]], requires_grad=True)
    value = law.log_prob(x)
    assert value[1:].tolist() == [-float("inf")] * 2
    assert distance(value[0], gamma.log_prob(x[0]).sum()) < 1e-6
    value[0].backward()
    assert bool(torch.isfinite(x.grad).all())
    assert law.log_prob(x[1:]).tolist() == [-float("inf")] * 2


def test_a_law_of_torch_that_is_moved_goes_where_it_is_sent():
    law = TorchLaw(torch.distributions.MultivariateNormal(torch.zeros(2), EYE)).double()
    assert law.sample(3).dtype == F64
    assert law.log_prob(cloud(3, 2)).dtype == F64


# ---- periodic columns


def test_a_wrapped_gaussian_has_the_theta_function_as_density():
    """p(x) = (1 + 2 Σ_j e^{−j²σ²/2} cos(j(x − μ))) / 2π: the same law by its Fourier series."""
    mean, sigma = 5.5, 1.3
    law = Wrapped(
        Gaussian(torch.tensor([mean], dtype=F64), torch.tensor([[sigma]], dtype=F64)),
        torch.full((1,), 2 * torch.pi, dtype=F64),
    )
    x = torch.linspace(-9, 9, 50, dtype=F64)
    j = torch.arange(1, 12, dtype=F64)[:, None]
    series = (1 + 2 * ((-(j**2) * sigma**2 / 2).exp() * (j * (x - mean)).cos()).sum(0)) / (2 * torch.pi)
    # the tails that 4,096 points do not show have less mass than one of them
    assert distance(law.log_prob(x[:, None]).exp(), series) < 1e-6


def test_wrapped_points_lie_within_their_periods():
    law = learning.wrapped(3, F64, 0)
    x = law.sample(500, seeded())
    assert bool(((x >= -1) & (x < 1)).all(0)[[0, 2]].all())
    assert bool((x[:, 1].abs() > 1).any())
    moved = x + torch.tensor([4.0, 0.0, -10.0], dtype=F64)
    assert distance(law.log_prob(moved), law.log_prob(x)) < 1e-11
    assert distance(law.wrap(moved), x) < 1e-13


@pytest.mark.parametrize("dtype", zoo.DTYPES, ids=str)
def test_numbers_just_below_a_period_stay_in_it(dtype):
    law = Wrapped(Gaussian(torch.zeros(1, dtype=dtype)), torch.ones(1, dtype=dtype))
    x = torch.tensor([[-1e-30], [1.0], [-0.0], [3.0]], dtype=dtype)
    assert law.wrap(x).tolist() == [[0.0]] * 4


@pytest.mark.parametrize("center", [0.1, 2.0, 6.2, -3.0])
def test_what_is_close_on_the_circle_is_close_once_unwrapped(center):
    period = 2 * torch.pi
    angles = center + cloud(200, 1, size=0.4)
    x = torch.cat([angles.remainder(period), cloud(200, 1, seed=1)], 1)
    open_, start = unwrapped(x, torch.tensor([period, torch.inf], dtype=F64))
    assert torch.equal(open_[:, 1], x[:, 1])
    assert distance((open_[:, 0] - open_[0, 0]), (angles - angles[0])[:, 0]) < 1e-12
    assert bool(((open_[:, 0] >= start[0]) & (open_[:, 0] < start[0] + period)).all())
    gap = (open_[:, 0] - start[0]).min(), (start[0] + period - open_[:, 0]).min()
    assert float(gap[0]) == pytest.approx(float(gap[1]))  # cut in the middle
    assert float(start[1]) == 0


def test_unwrapped_then_wrapped_is_where_it_was():
    x = torch.cat([cloud(50, 1, size=3.0), cloud(50, 1, seed=1)], 1)
    periods = torch.tensor([1.7, torch.inf], dtype=F64)
    open_, start = unwrapped(x, periods)
    turns = ((x - open_) / 1.7)[:, 0]
    assert distance(turns, turns.round()) < 1e-12
    assert distance(Wrapped(Gaussian.standard(2, F64), periods, start).wrap(x), open_) < 1e-12


def test_a_transported_law_is_the_formula():
    law, x = learning.transported(2, F64, 0), cloud(9, 2)
    z, logdet = law.phi.with_logdet(x)
    assert distance(law.log_prob(x), law.base.log_prob(z) + logdet) < 1e-14
    drawn = law.base.sample(9, seeded())
    assert distance(law.phi(law.sample(9, seeded())), drawn) < 1e-10


def test_a_map_that_folds_has_no_density():
    folded = zoo.flow(zoo.GAUSSIAN, 2)(2, F64, 0)
    with torch.no_grad():
        for p in folded.parameters():
            p.mul_(40)
    law = Transported(folded, Gaussian.standard(2, F64))
    assert bool(law.log_prob(cloud(200, 2)).isnan().any())
