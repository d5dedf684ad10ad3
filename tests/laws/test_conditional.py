"""Laws of x given c: of mass one for every c, quotients of joint laws, and what conditional flows learn of them."""

import math
from functools import partial

import pytest
import torch

from diffeo.fields import Conditioned, KernelField
from diffeo.fit import fit
from diffeo.flows import Flow
from diffeo.io import load, save
from diffeo.kernels import GaussianKernel
from diffeo.laws import Conditional, Gaussian, Independent, Mixture, Transported
from diffeo.losses import NLLLoss
from diffeo.shapes import Samples
from diffeo.solvers import Euler
from tests import zoo
from tests.oracles import cloud, distance, like, slope

F64 = torch.float64
laws = pytest.mark.parametrize(("entry", "d"), zoo.each(zoo.CONDITIONAL_LAWS), ids=str)
of_one = pytest.mark.parametrize("entry", [e for e in zoo.CONDITIONAL_LAWS if 2 in e.dimensions], ids=str)
LINE = torch.linspace(-9, 9, 3001, dtype=F64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rows_of(line, c):
    """Rows (x, c) for all x on a line and all c, shape (len(line) · len(c), 2)."""
    return torch.cartesian_prod(line, c)


def given_of(law):
    """k."""
    return law.base.given if isinstance(law, Transported) else law.given


# ---- laws


@of_one
def test_mass_is_one_for_every_c(entry):
    law, c = entry(2), torch.tensor([-1.5, -0.2, 0.8, 3.0], dtype=F64)
    with torch.no_grad():
        p = law.log_prob(rows_of(LINE, c)).exp().reshape(-1, 4)
    assert distance(p.sum(0) * (LINE[1] - LINE[0]), torch.ones(4, dtype=F64)) < 1e-6


@of_one
def test_draws_given_c_follow_its_density(entry):
    """Means of waves, for each c, within five errors of those by quadrature."""
    law, step = entry(2), LINE[1] - LINE[0]
    for c in (-0.7, 0.9):
        x = law.sample_given(torch.full((3000, 1), c, dtype=F64), seeded())
        assert x.shape == (3000, 1)
        with torch.no_grad():
            p = law.log_prob(rows_of(LINE, torch.tensor([c], dtype=F64))).exp() * step
        for wave in (torch.cos, torch.sin, lambda t: torch.cos(2.5 * t)):
            values = wave(x[:, 0])
            assert abs(values.mean() - (p * wave(LINE)).sum()) < 5 * values.std() / 3000**0.5


@pytest.mark.parametrize(("d", "given"), [(2, 1), (3, 1), (3, 2)])
def test_a_joint_law_is_its_quotient(d, given):
    """log p(x, c) − log p(c), with the marginal from covariances."""
    joint, rows = zoo.law(d, F64, 0), cloud(20, d, size=1.0)
    law, k = Conditional(joint, given), given
    covariances = joint.factors @ joint.factors.mT
    marginal = Mixture(
        joint.weights.detach(), joint.means.detach()[:, -k:], torch.linalg.cholesky(covariances.detach()[:, -k:, -k:])
    )
    torch.testing.assert_close(law.log_prob(rows), joint.log_prob(rows) - marginal.log_prob(rows[:, -k:]))


def test_of_one_gaussian_it_is_regression():
    """x | c ~ N(m + S_xc S_cc⁻¹ (c − m_c), S_xx − S_xc S_cc⁻¹ S_cx), in density and draws."""
    factor = torch.tensor([[1.0, 0, 0], [0.3, 0.2, 0], [0.5, -0.4, 0.6]], dtype=F64)
    mean = torch.tensor([0.5, -1.0, 2.0], dtype=F64)
    law = Conditional(Mixture(torch.ones(1, dtype=F64), mean[None], factor[None]), 1)
    S, c = factor @ factor.T, 1.3
    center = mean[:2] + S[:2, 2] / S[2, 2] * (c - mean[2])
    covariance = S[:2, :2] - torch.outer(S[:2, 2], S[:2, 2]) / S[2, 2]
    exact = torch.distributions.MultivariateNormal(center, covariance)
    x = law.sample_given(torch.full((4000, 1), c, dtype=F64), seeded())
    torch.testing.assert_close(law.log_prob(torch.cat([x, torch.full((4000, 1), c, dtype=F64)], 1)), exact.log_prob(x))
    assert distance(x.mean(0), center) < 0.08
    assert distance(x.T.cov(), covariance) < 0.08


@laws
def test_gradients_by_finite_differences(entry, d):
    law, rows = entry(d), cloud(5, d).requires_grad_()
    unknowns, weights = [rows, *law.parameters()], cloud(5, 1, seed=60)[:, 0]
    start = [t.detach().clone() for t in unknowns]
    ways = [like(t, seed=50 + k) for k, t in enumerate(start)]

    def along(s):
        with torch.no_grad():
            for t, t0, v in zip(unknowns, start, ways, strict=True):
                t.copy_(t0 + s * v)
            return float((weights * law.log_prob(rows)).sum())

    expected = slope(along, 1e-4)
    along(0.0)
    gradients = torch.autograd.grad((weights * law.log_prob(rows)).sum(), unknowns, materialize_grads=True)
    assert sum(float((g * v).sum()) for g, v in zip(gradients, ways, strict=True)) == pytest.approx(expected, rel=1e-6)


@laws
def test_other_units_change_the_units_only(entry, d):
    """Densities in x: by the factor to the power of its dimension."""
    law, rows, factor, shift = entry(d), cloud(9, d), 3.1, cloud(1, d, seed=2)[0]
    other = law.rescaled(factor, shift)
    expected = law.log_prob(rows) - (d - given_of(law)) * math.log(factor)
    torch.testing.assert_close(other.log_prob(factor * rows + shift), expected, rtol=1e-8, atol=1e-8)


@laws
def test_files_hold_them(entry, d, tmp_path):
    law, rows = entry(d), cloud(9, d)
    save(tmp_path / "law", law)
    with torch.no_grad():  # with a gradient, sums are taken in another order
        assert torch.equal(load(tmp_path / "law").log_prob(rows), law.log_prob(rows))


@laws
def test_draws_are_those_of_the_generator(entry, d):
    law = entry(d)
    c = cloud(7, given_of(law))
    first = law.sample_given(c, seeded(3))
    assert first.shape == (7, d - given_of(law))
    assert torch.equal(law.sample_given(c, seeded(3)), first)
    assert not torch.equal(law.sample_given(c, seeded(4)), first)
    assert not first.requires_grad
    assert law.sample_given(c[:0]).shape == (0, d - given_of(law))
    single = entry(d, torch.float32)
    assert single.sample_given(c.float(), seeded(3)).dtype == torch.float32


def test_rows_are_drawn_together_where_the_law_of_c_is_known():
    law = zoo.conditional(1)(2, F64, 0)
    assert torch.equal(law.sample(5, seeded()), law.joint.sample(5, seeded()))
    with pytest.raises(ValueError, match=r"no law of c: draw x for given c with sample_given"):
        Independent(Gaussian.standard(1), 1).sample(5)


def test_what_is_not_given_is_refused():
    joint = zoo.law(2, F64, 0)
    with pytest.raises(
        ValueError, match=r"expects a Mixture of x and c together, and got Gaussian: .* use Independent"
    ):
        Conditional(Gaussian.standard(2), 1)  # type: ignore[arg-type]
    for given in (0, 2, True):
        with pytest.raises(ValueError, match="coordinates that are given, from 1 to 1, and got"):
            Conditional(joint, given)
    with pytest.raises(ValueError, match="coordinates that are given, 1 or more, and got 0"):
        Independent(joint, 0)
    with pytest.raises(ValueError, match=r"tensor \(n, 1\)"):
        Conditional(joint, 1).sample_given(cloud(3, 2))
    with pytest.raises(ValueError, match=r"from a base that is a ConditionalLaw, and this one is a Mixture"):
        Transported(zoo.flow(zoo.GAUSSIAN, 2)(2, F64, 0), joint).sample_given(cloud(3, 1))
    moving = Transported(zoo.flow(zoo.GAUSSIAN, 2)(2, F64, 0), Conditional(joint, 1))
    with pytest.raises(ValueError, match="the map of this law moves c: build it of Conditioned fields"):
        moving.sample_given(cloud(3, 1))


# ---- conditional flows


def spread(c):
    """Of x given c."""
    return 0.2 + 0.1 * c**2


def rows_drawn(n, seed=0):
    """x | c ~ N(sin c, (0.2 + 0.1 c²)²), c uniform on [−2, 2]."""
    draw = seeded(seed)
    c = 4 * torch.rand(n, generator=draw, dtype=F64) - 2
    return torch.stack([c.sin() + spread(c) * torch.randn(n, generator=draw, dtype=F64), c], 1)


def learned(base, layers=4, n=800, iterations=40):
    """A flow of conditioned fields, trained on these rows."""
    x = rows_drawn(n)
    field = Conditioned(KernelField(GaussianKernel(1.0), x[:20]), 1)
    box = torch.tensor([4.0, 2.2], dtype=F64)
    shape = partial(Samples, floor=0.2, witnesses=box * (2 * torch.rand(200, 2, generator=seeded(1), dtype=F64) - 1))
    phi = Flow(field, Euler(), layers)
    fit(phi, [(shape(x), None)], NLLLoss(base), weight=1e-3, max_iterations=iterations)
    return Transported(phi.requires_grad_(False), base.requires_grad_(False))


def divergences(law, c):
    """KL(true ‖ law) for each c, by quadrature, and the masses of the law."""
    rows = rows_of(LINE, c)
    with torch.no_grad():
        found = law.log_prob(rows).reshape(len(LINE), len(c))
    true = torch.distributions.Normal(c.sin(), spread(c)).log_prob(LINE[:, None])
    step = LINE[1] - LINE[0]
    return (true.exp() * (true - found)).sum(0) * step, found.exp().sum(0) * step


@pytest.mark.slow
@pytest.mark.parametrize("base", ["ignores c", "mixture"])
def test_a_conditional_flow_recovers_a_known_conditional_law(base):
    if base == "mixture":
        factors = torch.tensor([[0.5, 0.0], [0.0, 0.7]], dtype=F64).expand(3, 2, 2)
        means = torch.tensor([[-0.8, -1.4], [0.0, 0.0], [0.8, 1.4]], dtype=F64)
        law = learned(Conditional(Mixture(torch.ones(3, dtype=F64), means, factors, trained=True), 1))
    else:
        law = learned(Independent(Gaussian(torch.zeros(1, dtype=F64), 0.4 * torch.eye(1, dtype=F64)), 1))
    c = torch.linspace(-1.8, 1.8, 13, dtype=F64)
    kl, mass = divergences(law, c)
    assert distance(mass, torch.ones_like(c)) < 1e-2
    assert kl.min() > -1e-3
    assert kl.mean() < 0.03
    assert kl.max() < 0.1
    for at in (-1.0, 0.0, 1.5):
        x = law.sample_given(torch.full((3000, 1), at, dtype=F64), seeded())
        assert float(x.mean()) == pytest.approx(math.sin(at), abs=0.08)
        assert float(x.std()) == pytest.approx(spread(at), rel=0.2)


def test_a_short_training_tells_one_c_from_another():
    """Better than the best law that ignores c, on rows not seen."""
    law = learned(Independent(Gaussian(torch.zeros(1, dtype=F64), 0.5 * torch.eye(1, dtype=F64)), 1), 3, 200, 12)
    new = rows_drawn(500, seed=9)
    with torch.no_grad():
        held_out = float(-law.log_prob(new).mean())
    ignorant = float(-Gaussian.fitted(new[:, :1]).log_prob(new[:, :1]).mean())
    assert held_out < ignorant - 0.2
    assert torch.equal(law.phi(new)[:, 1], new[:, 1])
