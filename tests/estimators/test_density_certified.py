"""Densities whose flow is proven to be a diffeomorphism everywhere: by how it is made, not by where one has looked."""

import numpy as np
import pytest
import torch

from diffeo import DensityFlow
from diffeo.diagnostics import fixed_point_inverse
from diffeo.estimators import load_estimator, save_estimator
from diffeo.fields import Conditioned, Contractive
from diffeo.flows.frames import parted
from diffeo.laws import Gaussian
from tests.oracles import distance

SMALL = {"depth": 6, "width": 24, "components": 1, "max_iter": 30, "check": False}


def arc(n, seed):
    """Around a parabola: far from Gaussian."""
    x = np.random.default_rng(seed).normal(size=(n, 2))
    return np.stack([x[:, 0], 0.3 * x[:, 1] + 0.5 * x[:, 0] ** 2], 1)


ROWS, NEW = arc(800, 0), arc(2000, 1)


@pytest.fixture(scope="module")
def bent():
    return DensityFlow(**SMALL, certified=True).fit(ROWS)


def flow_of(law):
    (flow,) = parted(law.phi_)[1]
    return flow


def test_all_layers_are_proven_to_be_invertible(bent):
    found = bent.certificate()
    assert len(found.bounds) == 6
    assert found.invertible
    assert all(0.1 < bound.residual < 0.95 for bound in found.bounds)  # the flow has something to do


def test_no_determinant_is_negative_anywhere(bent):
    """As far out as ten times the extent of the data, and between them; the proof says by how much."""
    side = torch.linspace(-1, 1, 150, dtype=torch.float64)
    plane = torch.cartesian_prod(side, side)
    least = min(bound.smallest for bound in bent.certificate().bounds) ** 2
    for reach in (2.0, 20.0):
        volumes = flow_of(bent).with_volumes(reach * plane)[1]
        assert float(volumes.min()) > least > 0


def test_the_inverse_is_that_up_to_rounding(bent):
    far = 5 * NEW
    np.testing.assert_allclose(bent.inverse_transform(bent.transform(far)), far, atol=1e-10)
    z = torch.from_numpy(bent.transform(NEW))
    found = fixed_point_inverse(flow_of(bent), z)
    assert distance(found.x, flow_of(bent).inverse(z)) < 1e-10
    assert bool((found.measured <= found.certified).all())


@pytest.mark.slow
def test_little_is_lost_against_a_flow_that_is_free(bent):
    free, plain = DensityFlow(**SMALL).fit(ROWS), Gaussian.fitted(torch.from_numpy(ROWS))
    gained = free.score(NEW) - float(plain.log_prob(torch.from_numpy(NEW)).mean())
    assert gained > 0.15
    assert bent.score(NEW) > free.score(NEW) - 0.1 * gained


def test_files_hold_them(bent, tmp_path):
    save_estimator(tmp_path / "law", bent)
    other = load_estimator(tmp_path / "law")
    assert other.certified
    np.testing.assert_array_equal(other.log_prob(NEW), bent.log_prob(NEW))
    assert other.certificate().bounds == bent.certificate().bounds


def test_the_report_says_what_it_rests_on():
    law = DensityFlow(width=20, depth=3, components=2, max_iter=4, certified=True).fit(ROWS)
    assert law.report_.certified
    assert law.report_.to_dict()["certified"]
    assert law.report_.certified_layers == 3
    assert "3 of 3 layers are invertible, everywhere" in str(law.report_)


def test_conditional_flows_are_certified():
    law = DensityFlow(width=20, depth=3, components=2, max_iter=4, check=False, certified=True)
    law.fit(ROWS[:, :1], context=ROWS[:, 1])
    assert law.certificate().invertible
    field = flow_of(law).fields[0]
    assert isinstance(field, Conditioned)
    assert isinstance(field.field, Contractive)
    drawn = law.sample(2, ROWS[:9, 1], random_state=0)
    back = law.inverse_transform(law.transform(drawn, np.repeat(ROWS[:9, 1], 2)), np.repeat(ROWS[:9, 1], 2))
    np.testing.assert_allclose(back, drawn, atol=1e-10)


@pytest.mark.slow
def test_maps_of_columns_are_certified():
    """Skewed columns of few rows: no flow but that of single columns, onto averaged mixtures."""
    rng = np.random.default_rng(0)
    cause = rng.normal(size=(200, 1))
    law = DensityFlow(components=2, check=False, certified=True).fit(np.exp(cause + 0.1 * rng.normal(size=(200, 3))))
    assert len(law.certificate().bounds) > 4
    assert law.certificate().invertible


def test_a_map_that_only_changes_units_has_no_layers():
    law = DensityFlow(check=False, certified=True, components=1).fit(np.random.default_rng(0).normal(size=(60, 2)))
    assert law.certificate().bounds == []
    assert law.certificate().lipschitz == 1


def test_certified_is_yes_or_no():
    with pytest.raises(ValueError, match="certified expects True or False, and got 'everywhere'"):
        DensityFlow(certified="everywhere").fit(ROWS)
