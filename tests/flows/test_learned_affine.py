"""Learned affine maps: whatever the unknowns are, a map that keeps orientation; its laws as a map are in the zoo."""

import pytest
import torch
from hypothesis import given
from torch import nn

from diffeo.core import Compose
from diffeo.fit import fit
from diffeo.flows import Affine, LearnedAffine
from diffeo.losses import LandmarkLoss
from diffeo.shapes import Points
from tests import zoo
from tests.oracles import cloud, distance, relative, seeds

F64 = torch.float64


@given(seed=seeds)
def test_no_step_of_an_optimizer_can_make_it_fold(seed):
    """The determinant is e^{tr M}, however large the unknowns."""
    phi = LearnedAffine(3, matrix=cloud(3, 3, seed=seed, size=4.0))
    det = torch.linalg.det(phi.matrix.detach())
    assert det > 0
    assert float(det.log()) == pytest.approx(
        float(phi.logarithm.detach().trace()), abs=1e-6 * (1 + float(det.log().abs()))
    )


@given(seed=seeds)
def test_it_is_the_affine_map_of_its_matrix(seed):
    phi, x = zoo.learned_affine()(3, F64, seed % 1000), cloud(9, 3, seed=seed)
    plain = Affine(phi.matrix, phi.translation)
    assert distance(phi(x), plain(x)) < 1e-12
    assert distance(phi.inverse(x), plain.inverse(x)) < 1e-10
    assert distance(phi.with_logdet(x)[1], plain.with_logdet(x)[1]) < 1e-10


def test_it_starts_as_the_identity():
    x = cloud(9, 3)
    phi = LearnedAffine(3).to(F64)
    assert torch.equal(phi(x), x)
    assert phi.energy() == 0


def test_it_is_fitted_to_any_affine_motion_nearby():
    x, motion = cloud(30, 2), zoo.affine(2, F64, 4)
    phi = LearnedAffine(2).to(F64)
    history = fit(phi, [(Points(x), motion @ Points(x))], LandmarkLoss(), weight=0.0, goal=1e-12)
    assert history[-1].data < 1e-10
    assert relative(phi.matrix, motion.matrix) < 1e-4


def test_its_price_keeps_it_small():
    """Translations are free, and what is paid for is what the weight says."""
    x, motion = cloud(30, 2), zoo.affine(2, F64, 4)
    norms = []
    for penalty in (0.1, 1.0, 10.0):
        phi = LearnedAffine(2, penalty=penalty).to(F64)
        fit(phi, [(Points(x), motion @ Points(x))], LandmarkLoss(), weight=1.0)
        norms.append(float(phi.logarithm.detach().norm()))
        torch.testing.assert_close(phi.energy(), 0.5 * penalty * phi.logarithm.square().sum())
        moved = (phi @ Points(x)).x.mean(0) - motion(x).mean(0)
        assert moved.norm() < 1e-3
    assert norms[0] > 1.5 * norms[1] > 3 * norms[2] > 0


@pytest.mark.slow
def test_it_alternates_with_what_deforms():
    """A stretch and a bend, which no geodesic of little energy is, are one map of two learned parts."""
    x = cloud(30, 2)
    stretched = x @ torch.diag(torch.tensor([3.0, 0.5], dtype=F64))
    target = Points(stretched + 0.1 * torch.stack([stretched[:, 1].sin(), stretched[:, 0].sin()], 1))
    bend = zoo.geodesic(zoo.GAUSSIAN)(2, F64, 0)
    nn.init.zeros_(bend.unknown.coordinates)
    together = Compose([LearnedAffine(2).to(F64), bend])
    history = fit(together, [(Points(x), target)], LandmarkLoss(), weight=1e-4, max_iterations=60)
    assert history[-1].data < 3e-3
    alone = zoo.geodesic(zoo.GAUSSIAN)(2, F64, 0)
    nn.init.zeros_(alone.unknown.coordinates)
    other = fit(alone, [(Points(x), target)], LandmarkLoss(), weight=1e-4, max_iterations=60)
    assert history[-1].objective < 0.5 * other[-1].objective


def test_what_is_fixed_stays():
    phi = LearnedAffine(2, trained=False, matrix=cloud(2, 2))
    assert not any(p.requires_grad for p in phi.parameters())
    assert not any(p.requires_grad for p in LearnedAffine(**phi.arguments()).parameters())
    assert not any(p.requires_grad for p in phi.rescaled(2.0, torch.ones(2)).parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 0}, "a dimension that is 1 or more, .* got dim 0, penalty 0"),
        ({"dim": 2, "penalty": -1.0}, "a finite penalty that is 0 or more, and got dim 2, penalty -1"),
        (
            {"dim": 2, "matrix": torch.eye(3)},
            r"a matrix \(2, 2\) and a translation \(2,\), and got \(3, 3\) and \(2,\)",
        ),
        ({"dim": 2, "translation": torch.ones(3)}, r"and got \(2, 2\) and \(3,\)"),
    ],
    ids=range(4),
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LearnedAffine(**arguments)
