"""Maps of single columns, trained by the likelihood of the best Gaussian."""

import pytest
import torch

from diffeo.diagnostics import certificate
from diffeo.estimators.marginals import marginal_flow, shrinkage_of
from diffeo.estimators.slowing import slowed
from diffeo.fields import SeparableField
from diffeo.flows import Flow
from diffeo.losses import GaussianProfileLoss
from diffeo.shapes import Samples
from tests.oracles import cloud

F64 = torch.float64


def standardized(x):
    return (x - x.mean(0)) / x.std(0)


def correlated(n: int, seed: int = 0) -> torch.Tensor:
    """Gaussian, with a correlation of .98."""
    mixing = torch.tensor([[1.0, 0.98], [0.0, 0.2]], dtype=F64)
    return 2 * cloud(n, 2, seed=seed) @ mixing


def profile(phi, x) -> float:
    with torch.no_grad():
        return float(GaussianProfileLoss()(phi @ Samples(x)))


@pytest.mark.slow
def test_skewed_columns_become_gaussian_and_their_relations_straight():
    """exp of a Gaussian, in both columns: most of what other columns leave open is won back, on new rows, too."""
    rows = correlated(700)
    skewed = standardized(rows.exp())
    x, new = skewed[:400], skewed[400:]
    phi, history = marginal_flow(x, iterations=50)
    still = Flow([SeparableField.over(x)])
    scale = rows.exp().std(0).log().sum()
    best = profile(still, rows[400:]) - float((-rows[400:].sum(1)).mean() + scale)  # the true maps, of the new rows
    assert history is not None
    won = (profile(still, new) - profile(phi, new)) / (profile(still, new) - best)
    assert won > 0.9


def test_gaussians_are_left_alone():
    x, new = standardized(correlated(1000)), standardized(correlated(1000, 1))
    phi, _ = marginal_flow(x)
    with torch.no_grad():
        assert float((phi(new) - new).abs().mean()) < 0.15
    assert profile(phi, new) < profile(Flow([SeparableField.over(x)]), new) + 0.02


@pytest.mark.parametrize("x", [cloud(20, 3), cloud(100, 1)], ids=["few rows", "one column"])
def test_too_little_is_left_alone(x):
    phi, history = marginal_flow(x)
    assert history is None
    assert torch.equal(phi(x), x)


def test_it_does_not_fold_also_beyond_the_data():
    """Atoms and outliers tempt it to."""
    x = cloud(150, 3, seed=2).round()
    x[0] = 12.0
    x = standardized(x + 0.01 * cloud(150, 3, seed=3))
    phi, _ = marginal_flow(x)
    far = torch.linspace(-30, 30, 2001, dtype=F64)[:, None].expand(-1, 3).contiguous()
    with torch.no_grad():
        assert (phi.with_volumes(far)[1] > 0.05).all()
        assert float((phi.inverse(phi(far)) - far).abs().max()) < 1e-10


def test_what_folds_is_slowed():
    theta = torch.zeros(3, 2, dtype=F64)
    theta[-1] = -1.5
    phi, x = Flow([SeparableField(cloud(1, 2), 1.0, theta)]), cloud(5, 2)
    slowed(phi, list(phi.parameters()), x, 0.05)
    assert (phi.with_volumes(x)[1] > 0.05).all()


def test_shrinkage_is_chosen_by_rows_left_out():
    assert shrinkage_of(cloud(30, 12)) == 0.1
    assert shrinkage_of(correlated(5000)) <= 1e-3
    assert shrinkage_of(cloud(4, 3)) == 0.1


@pytest.mark.slow
def test_maps_that_are_to_be_certified_are_proven_to_be_increasing():
    """Two clusters in each column: between them, nearly nothing is left of the line."""
    labels = (torch.arange(300) % 2).double()
    x = standardized(0.05 * cloud(300, 2) + 3 * labels[:, None] + torch.tensor([[0.0, 1.0]]))
    phi, _ = marginal_flow(x, iterations=25, certified=True)
    found = certificate(phi, x)
    assert found.invertible
    assert found.measured is not None
    assert 0 < 1 / found.inverse_lipschitz <= found.measured.map_smallest
