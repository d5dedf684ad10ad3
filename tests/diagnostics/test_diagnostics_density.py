"""What a report says of a density: right where the truth is known, and never more than it rests on."""

import json
import math

import numpy as np
import pytest
import torch

import diffeo
from diffeo.core import Compose
from diffeo.diagnostics import DensityReport, certificate, density_report
from diffeo.diagnostics.mass import cells, mass
from diffeo.fields import KernelField
from diffeo.flows import Affine, Bounded, Flow
from diffeo.kernels import GaussianKernel
from diffeo.laws import Conditional, Gaussian, Mixture, Transported, Wrapped
from tests import zoo
from tests import zoo_of_learning as learning
from tests.marks import cases
from tests.oracles import cloud

F64 = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def law_of(d, strength=1.0):
    """A flow to a Gaussian, its momenta multiplied: a strong one folds."""
    phi = zoo.flow(zoo.GAUSSIAN, 4)(d, F64, 0)
    with torch.no_grad():
        for p in phi.parameters():
            p.mul_(strength)
    return Transported(phi, Gaussian(torch.zeros(d, dtype=F64), 0.7 * torch.eye(d, dtype=F64)))


def report_of(law, n=400, **options) -> DensityReport:
    return density_report(law, law.sample(n, seeded(1)), test=law.sample(n, seeded(2)), **options)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_sound_density_is_called_sound(d):
    law = law_of(d)
    report = report_of(law)
    assert report.sound
    assert report.problems == []
    assert report.dimension == d
    assert report.round_trip < 1e-12
    assert abs(report.mass.value - 1) < (1e-5 if d < 3 else 5 * report.mass.error)
    assert report.layers == report.certified_layers == 4
    assert report.energy == pytest.approx(float(law.phi.energy().detach()))
    assert report.geodesic_distance == pytest.approx(math.sqrt(2 * report.energy))
    assert abs(report.gap) < 4 * (report.train.error + report.held_out.error)


def test_likelihoods_are_means_with_their_errors():
    law = law_of(2)
    x, held, test = (law.sample(n, seeded(n)) for n in (300, 200, 100))
    report = density_report(law, x, validation=held, test=test)
    for found, rows in ((report.train, x), (report.held_out, test)):
        values = law.log_prob(rows).detach()
        assert found.mean == pytest.approx(float(values.mean()))
        assert found.error == pytest.approx(float(values.std()) / len(rows) ** 0.5)
        assert (found.rows, found.lost) == (len(rows), 0)
    assert report.held_out_name == "test"
    assert density_report(law, x, validation=held).held_out_name == "validation"
    alone = density_report(law, x)
    assert alone.held_out is None
    assert math.isnan(alone.gap)
    assert "Held out" not in str(alone)


def test_a_fold_is_reported_and_forbids_to_call_it_a_density():
    law = law_of(2, 40.0)
    x = cloud(300, 2)
    report = density_report(law, x, test=x)
    assert not report.sound
    assert report.train.lost > 0
    assert math.isnan(report.train.mean)
    assert report.on_data.folds > 0
    assert report.in_box.folds > 0
    assert report.on_data.smallest < 0
    assert math.isnan(report.mass.value)
    assert report.mass.how.endswith("φ folds there")
    assert report.certified_layers < report.layers
    assert str(report).startswith("THIS IS NO DENSITY")
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_fold_off_the_data_is_seen_in_the_box_around_them():
    """A layer that folds between two groups of points only."""
    controls, momenta = torch.tensor([[-0.3], [0.3]], dtype=F64), torch.tensor([[2.0], [-2.0]], dtype=F64)
    field = KernelField(GaussianKernel(0.5), controls, momenta, whiten=False)
    law = Transported(Flow([field], steps=1), Gaussian.standard(1, F64))
    sides = torch.cat([cloud(100, 1, size=0.1) - 2, cloud(100, 1, size=0.1, seed=1) + 2])
    report = density_report(law, sides)
    assert report.on_data.folds == 0
    assert report.on_data.smallest > 0
    assert report.in_box.folds > 0
    assert not report.sound
    assert report.certified_layers == 0


def test_certificates_are_those_of_the_flow_between_changes_of_units():
    flow = law_of(2)
    units = Affine(torch.diag(torch.tensor([1e3, 1e-3], dtype=F64)), torch.ones(2, dtype=F64))
    law = Transported(Compose([units, flow.phi]), flow.base)
    report, plain = report_of(law), certificate(flow.phi)
    assert report.forward.certified == pytest.approx(plain.lipschitz)
    assert report.backward.certified == pytest.approx(plain.inverse_lipschitz)
    for stretch in (report.forward, report.backward):
        assert 1 <= stretch.looseness < 20
    assert report.in_box.smallest > 0.3  # and not the volume of the affine map


@pytest.mark.slow
def test_maps_without_a_certificate_are_reported_as_such():
    law = Transported(zoo.warp(2, F64, 0), Gaussian(torch.zeros(2, dtype=F64), 0.2 * torch.eye(2, dtype=F64)))
    report = density_report(law, cloud(200, 2, size=0.2))
    assert report.forward is None
    assert not report.certified
    assert not report.to_dict()["certified"]
    assert "a certificate rests on" in report.uncertified
    assert "Elsewhere nothing is proven" in str(report)
    only_units = Transported(zoo.affine(2, F64, 0), Gaussian.standard(2, F64))
    report = report_of(only_units)
    assert report.certified
    assert report.sound
    assert (report.layers, report.forward.certified, report.backward.certified) == (0, 1.0, 1.0)
    assert "The map only changes units, and is invertible everywhere." in str(report)


@pytest.mark.slow
def test_a_likelihood_that_is_too_good_is_a_problem():
    law = law_of(2)
    report = report_of(law)
    truth = -report.held_out.mean
    assert report_of(law, entropy=truth).sound
    cheating = report_of(law, entropy=truth + 4 * report.held_out.error)
    assert any("larger than the true law's" in problem for problem in cheating.problems)


def test_an_inverse_that_is_not_found_is_a_problem(monkeypatch):
    law = law_of(2)
    x = law.sample(50, seeded())

    def fail(_):
        raise ArithmeticError("no")

    monkeypatch.setattr(law.phi, "inverse", fail)
    report = density_report(law, x)
    assert report.round_trip == math.inf
    assert not report.sound
    assert "The inverse was not found" in str(report)


def test_a_map_that_is_not_finite_is_reported():
    law = law_of(2)
    x = law.sample(50, seeded())
    with torch.no_grad():
        for p in law.phi.parameters():
            p.fill_(math.nan)
    report = density_report(law, x, test=x)
    assert report.train.lost == 50
    assert report.on_data.folds == 50
    assert not report.sound
    json.dumps(report.to_dict(), allow_nan=False)


# ---- bounds, circles, contexts


@pytest.mark.parametrize("d", [1, 2])
def test_bounded_columns_are_integrated_where_they_are_opened_up(d):
    law = Transported(Compose([zoo.bounded(d, F64, 0), law_of(d).phi]), law_of(d).base)
    x = law.sample(300, seeded())
    outside = x.clone()
    outside[0, 0] = 5.0
    report = density_report(law, x, test=outside)
    assert report.sound
    assert report.mass.value == pytest.approx(1, abs=1e-5)
    assert report.held_out.mean == -math.inf
    assert report.to_dict()["held_out"]["mean"] is None
    assert density_report(law, outside).train.mean == -math.inf
    with pytest.raises(ValueError, match="none lies within the bounds"):
        density_report(law, x[:, :1].expand(-1, d) + 100)


def test_circles_are_integrated_over_their_periods():
    flow = law_of(2)
    law = Wrapped(flow, torch.tensor([2.0, math.inf], dtype=F64), torch.tensor([-1.0, 0.0], dtype=F64))
    report = report_of(law)
    assert report.mass.value == pytest.approx(1, abs=1e-4)
    assert report.sound
    short = Wrapped(flow, law.periods, law.start, copies=0)  # mass beyond the period is lost
    assert density_report(short, law.sample(100, seeded())).mass.value < 0.99


def test_a_conditional_density_is_integrated_given_a_context():
    law = Transported(zoo.affine(3, F64, 0), Conditional(learning.mixture(False)(3, F64, 0), 1))
    x = law.sample(300, seeded())
    still = Transported(Affine(torch.eye(3, dtype=F64), torch.zeros(3, dtype=F64)), law.base)
    report = density_report(still, still.sample(300, seeded()))
    assert (report.dimension, report.given) == (2, 1)
    assert density_report(law, x).train.lost == 0  # a map that moves the context is reported, too
    assert report.mass.value == pytest.approx(1, abs=1e-4)
    assert "given the context" in report.mass.how


# ---- integrals


def test_integrals_on_grids_are_exact_for_smooth_densities():
    for d in (1, 2):
        law = learning.mixture(False)(d, F64, 0)
        low, high = torch.full((d,), -8.0, dtype=F64), torch.full((d,), 8.0, dtype=F64)
        assert mass(law.log_prob, low, high, cloud(9, d)).value == pytest.approx(1, abs=1e-9)
        doubled = mass(lambda y, law=law: law.log_prob(y) + math.log(2), low, high, cloud(9, d))
        assert doubled.value == pytest.approx(2, abs=1e-9)


@pytest.mark.parametrize("d", [3, 5])
def test_integrals_by_draws_lie_within_their_errors(d):
    law = Mixture(
        torch.tensor([0.3, 0.7], dtype=F64), 2 * cloud(2, d), torch.stack([0.5 * torch.eye(d, dtype=F64)] * 2)
    )
    x = law.sample(2000, seeded())
    errors = []
    for seed in range(4):
        found = mass(lambda y: law.log_prob(y) + math.log(3), x[0], x[0], x, seed)
        errors.append((found.value - 3) / found.error)
        assert found.error < 0.05
    assert 0.05 < max(map(abs, errors)) < 4


@pytest.mark.slow
def test_in_many_dimensions_nothing_is_claimed():
    law = Gaussian.standard(40, F64)
    squeezed = Gaussian(torch.zeros(40, dtype=F64), 0.2 * torch.eye(40, dtype=F64))
    found = mass(squeezed.log_prob, torch.zeros(40), torch.zeros(40), law.sample(500, seeded()))
    assert math.isnan(found.value)
    assert found.how.startswith("not known")
    flat = torch.cat([cloud(50, 3), cloud(50, 1), cloud(50, 1)], 1)
    flat[:, 4] = flat[:, 3]
    assert "fewer dimensions" in mass(Gaussian.standard(5, F64).log_prob, flat[0], flat[0], flat).how


def test_no_tail_is_cut_off():
    """A component far out and wide, of which points within the box say nothing."""
    for d in (1, 2):
        far = torch.stack([torch.zeros(d, dtype=F64), torch.full((d,), 30.0, dtype=F64)])
        factors = torch.stack([torch.eye(d, dtype=F64), 5 * torch.eye(d, dtype=F64)])
        law = Mixture(torch.tensor([0.9, 0.1], dtype=F64), far, factors)
        low, high = torch.full((d,), -3.0, dtype=F64), torch.full((d,), 3.0, dtype=F64)
        assert mass(law.log_prob, low, high, cloud(9, d)).value == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("d", cases([1, 2, 3], slow=[2, 3]))
def test_modes_between_the_points_of_a_grid_are_not_missed(d):
    """Narrow modes, far apart, one of them flat: no grid sees them, draws do; and that there are twice as many."""
    still, away = torch.zeros(d, dtype=F64), torch.full((d,), 1e4, dtype=F64)
    means = torch.stack([still, away, -3 * away])
    flat = torch.full((d,), 1.0, dtype=F64)
    flat[-1] = 1e-2
    factors = torch.stack([torch.eye(d, dtype=F64), flat.diag(), 3 * torch.eye(d, dtype=F64)])
    law = Mixture(torch.tensor([0.5, 0.3, 0.2], dtype=F64), means, factors)
    x = law.sample(2000, seeded())
    for times in (1.0, 2.0):
        found = mass(lambda y, c=times: law.log_prob(y) + math.log(c), x.amin(0), x.amax(0), x)
        assert abs(found.value - times) < 4 * found.error
        assert found.error < 0.05
    assert "draws" in found.how


def test_where_a_grid_is_too_coarse_and_nothing_can_be_drawn_nothing_is_claimed():
    law = Mixture(torch.ones(2), torch.tensor([[0.0], [1e5]]), 0.1 * torch.ones(2, 1, 1))
    x, ends = law.sample(500, seeded()), torch.tensor([1e6])
    found = mass(law.log_prob, -ends, ends, x, circles=torch.tensor([True]))
    assert math.isnan(found.value)
    assert found.how.startswith("not known")
    assert "too coarse" in found.how


@pytest.mark.slow
def test_densities_with_narrow_modes_far_apart_are_called_densities():
    rng = np.random.default_rng(0)
    x = np.array([[0.0, 0.0], [1000.0, 0.0], [0.0, 5000.0]])[rng.integers(3, size=400)] + rng.normal(size=(400, 2))
    report = diffeo.DensityFlow(max_iter=1).fit(x).report_
    assert report is not None
    assert report.sound, report.problems
    assert report.mass.value == pytest.approx(1, abs=0.05)


def test_cells_fill_a_box():
    low, high = torch.tensor([0.0, -1.0]), torch.tensor([1.0, 3.0])
    x = cells(low, high, 4)
    assert x.shape == (16, 2)
    assert torch.equal(x.amin(0), torch.tensor([0.125, -0.5]))
    assert torch.equal(x.amax(0), torch.tensor([0.875, 2.5]))


# ---- words


def test_a_report_is_one_paragraph_and_says_what_it_rests_on():
    text = str(report_of(law_of(2), entropy=1.0))
    assert "\n" not in text
    for words in (
        "Held out (test, 400 rows)",
        "a gap of",
        "training rows",
        "grid of 100 × 100 points",
        "Proven",
        "∫p",
        "√(2E)",
    ):
        assert words in text, words


def test_a_report_is_json():
    facts = json.loads(json.dumps(report_of(law_of(2)).to_dict(), allow_nan=False))
    assert facts["sound"] is True
    assert facts["mass"]["value"] == pytest.approx(1)
    assert facts["train"]["rows"] == 400
    assert facts["forward"]["looseness"] >= 1


def test_what_is_no_flow_is_refused():
    with pytest.raises(ValueError, match="a law that a map carries"):
        density_report(Gaussian.standard(2), cloud(9, 2))
    with pytest.raises(ValueError, match="rows of 2 columns"):
        density_report(law_of(2), cloud(9, 3))


def test_what_is_measured_does_not_depend_on_the_precision_of_the_rows():
    law = law_of(2)
    x = law.sample(100, seeded())
    assert density_report(law, x.float()).train.mean == pytest.approx(density_report(law, x).train.mean, abs=1e-5)
    single = density_report(law.float(), x)
    assert single.precision == "float32"
    assert single.round_trip < 5e-5
    assert single.sound


def test_a_box_within_bounds_stays_within_them():
    phi = Compose([Bounded(torch.zeros(2, dtype=F64), torch.ones(2, dtype=F64)), law_of(2).phi])
    law = Transported(phi, law_of(2).base)
    assert report_of(law).in_box.folds == 0
