"""Mixtures fitted to points: EM climbs, finds what is there, and survives what is not."""

import math

import pytest
import torch

from diffeo.laws import Gaussian, Mixture, MixtureFit, Shrinkage, chosen_fit
from diffeo.laws.expectation import clusters, maximized
from diffeo.laws.quadratics import monomials
from tests.oracles import cloud, relative

F64 = torch.float64
KNOWN = Mixture(
    torch.tensor([0.5, 0.3, 0.2], dtype=F64),
    torch.tensor([[0.0, 0.0], [4.0, 1.0], [-2.0, 5.0]], dtype=F64),
    torch.tensor([[[1.0, 0.0], [0.6, 0.5]], [[0.5, 0.0], [-0.3, 0.7]], [[0.4, 0.0], [0.0, 1.2]]], dtype=F64),
)


def drawn(n: int, seed: int = 0) -> torch.Tensor:
    return KNOWN.sample(n, torch.Generator().manual_seed(seed))


def test_densities_are_linear_in_monomials():
    """log w_k N(x; μ_k, C_k) as a product of matrices is what `Mixture` computes with triangular factors."""
    found, _ = maximized(drawn(300), 4, Shrinkage(1.0, 0.1))
    mixture, x = Mixture(found.weights, found.means, torch.linalg.cholesky(found.covariances)), 3 * cloud(9, 2)
    torch.testing.assert_close(found.densities(monomials(x)), mixture.components(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("components", [2, 3, 7])
def test_em_raises_the_likelihood(components):
    """Without shrinkage, mean log-likelihood never falls, up to the point that every weight is given."""
    x = drawn(2000)
    _, likelihoods = maximized(x, components, Shrinkage(0.0, 0.0, 0.0), iterations=40, tolerance=-1.0)
    rises = torch.tensor(likelihoods).diff()
    assert len(likelihoods) == 40
    assert rises.min() > -components / len(x)
    assert likelihoods[-1] > likelihoods[0]


def test_a_known_mixture_is_recovered():
    found = MixtureFit(3, Shrinkage(0.0, 0.0), starts=1, outliers=False, iterations=200).fit(drawn(20_000))
    order = [int((found.means - mean).norm(dim=1).argmin()) for mean in KNOWN.means]
    assert sorted(order) == [0, 1, 2]
    torch.testing.assert_close(found.weights[order], KNOWN.weights, atol=0.02, rtol=0)
    torch.testing.assert_close(found.means[order], KNOWN.means, atol=0.05, rtol=0)
    covariances = found.factors @ found.factors.mT
    torch.testing.assert_close(covariances[order], KNOWN.factors @ KNOWN.factors.mT, atol=0.08, rtol=0)


@pytest.mark.slow
def test_the_choice_finds_what_is_there():
    """Held-out likelihood within .02 nats of the truth's, and of one Gaussian where one is the truth."""
    x, new = drawn(600), drawn(4000, 1)
    fit = chosen_fit(x)
    assert 3 <= fit.components <= 6
    loss = float((KNOWN.log_prob(new) - fit.fit(x).log_prob(new)).mean())
    assert 0 < loss < 0.05
    assert chosen_fit(cloud(200, 3)).components == 1


def test_averages_of_starts_are_better_than_the_starts_on_average():
    """Jensen's inequality, for every single point."""
    x, new = drawn(200), drawn(500, 1)
    options = {"outliers": False, "shrinkage": Shrinkage(3.0)}
    single = torch.stack([MixtureFit(12, starts=1, seed=s, **options).fit(x).log_prob(new) for s in range(4)])
    average = MixtureFit(12, starts=4, **options).fit(x).log_prob(new)
    torch.testing.assert_close(average, single.logsumexp(0) - math.log(4), rtol=1e-9, atol=1e-9)


def test_outliers_cost_no_more_than_the_broad_component_says():
    x = cloud(100, 2)
    plain, robust = (MixtureFit(outliers=outliers).fit(x) for outliers in (False, True))
    far = x.mean(0) + 6 * x.std(0)[None]
    broad = Gaussian(x.mean(0), (3 * x.std(0, correction=0)).diag()).log_prob(far) - math.log(100)
    assert robust.log_prob(far) >= broad - 1e-6
    assert plain.log_prob(far) < broad - 10
    assert float((robust.log_prob(x) - plain.log_prob(x)).mean()) > -0.02


@pytest.mark.parametrize("n", [2, 3, 9, 11, 25])
def test_fewer_points_than_dimensions_are_enough(n):
    x = cloud(n, 13)
    law = chosen_fit(x).fit(x)
    assert torch.isfinite(law.log_prob(cloud(50, 13, seed=1))).all()


@pytest.mark.parametrize(("n", "d"), [(25, 30), (50, 60)])
def test_of_few_points_in_many_dimensions_covariances_are_not_believed(n, d):
    """Points of N(0, 1) that are fewer than dimensions: within .2 nats per dimension, and not the outliers' law."""
    x, new = cloud(n, d), cloud(500, d, seed=1)
    loss = float((Gaussian.standard(d).to(new).log_prob(new) - chosen_fit(x).fit(x).log_prob(new)).mean())
    assert loss < 0.2 * d


@pytest.mark.slow
def test_columns_that_nearly_follow_from_others_are_as_good_as_their_covariance():
    """Three unknowns in ten columns, and noise of a thousandth: nearly the likelihood of the plain covariance."""
    covariance = cloud(3, 10).T @ cloud(3, 10) + 1e-6 * torch.eye(10, dtype=F64)
    law = Gaussian(torch.zeros(10, dtype=F64), torch.linalg.cholesky(covariance))
    x, new = (law.sample(1000, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    loss = float((law.log_prob(new) - chosen_fit(x).fit(x).log_prob(new)).mean())
    assert loss < 0.5


def test_repeated_and_rounded_points_are_no_atoms():
    """The density stays below that of a uniform law on cells as wide as the numbers' gaps."""
    x = cloud(30, 1).repeat(20, 1)
    law = MixtureFit(60, Shrinkage(0.1), starts=2).fit(x)
    assert torch.isfinite(law.log_prob(x)).all()
    rounded = (5 * cloud(3000, 1)).round() / 5
    law = chosen_fit(rounded).fit(rounded)
    assert float(law.log_prob(rounded).exp().max()) < 2 * float((rounded == 0).double().mean() / 0.2)


def test_units_of_columns_do_not_matter():
    """Shrinkage is toward the diagonal, so that columns in other units give the same law in them."""
    x, units = drawn(500), torch.tensor([1.0, 50.0], dtype=F64)
    options = {"starts": 1, "iterations": 1, "shrinkage": Shrinkage(5.0, 0.2, 0.0)}
    one, other = (MixtureFit(1, **options).fit(y).log_prob(y) for y in (x, units * x))
    assert relative(other + math.log(50), one) < 1e-9


def test_clusters_are_those_that_lie_apart():
    centers = 30 * cloud(5, 2)
    x = torch.cat([center + cloud(20, 2, seed=k) for k, center in enumerate(centers)])
    labels = clusters(x, 5, torch.Generator().manual_seed(0)).reshape(5, 20)
    assert (labels == labels[:, :1]).all()
    assert len(labels[:, 0].unique()) == 5


def test_precision_follows():
    x = drawn(50).float()
    assert MixtureFit(2).fit(x).means.dtype == torch.float32
    assert MixtureFit(2).fit(x, trained=True).means.requires_grad


@pytest.mark.parametrize("x", [torch.zeros(0, 2), torch.zeros(1, 2), torch.zeros(5)], ids=["none", "one", "flat"])
def test_what_is_no_cloud_is_refused(x):
    with pytest.raises(ValueError, match="points"):
        MixtureFit().fit(x)
