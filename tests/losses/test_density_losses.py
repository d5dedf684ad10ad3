"""Losses of densities: what they are for maps and laws with known answers, and the gradients that descents believe."""

import copy
import dataclasses
import math
import pickle

import pytest
import torch

from diffeo.fit import Batches, fit
from diffeo.flows import Affine, LearnedAffine
from diffeo.io.transform import decode, encode
from diffeo.io.tree import load_tree, save_tree
from diffeo.laws import Gaussian, Law, Transported
from diffeo.losses import GaussianProfileLoss, KLLoss, LandmarkLoss, NLLLoss
from diffeo.shapes import Points, Samples
from tests import zoo
from tests.oracles import cloud, distance, like, rotation, slope

F64 = torch.float64
losses = pytest.mark.parametrize("entry", zoo.DENSITY_LOSSES, ids=str)
dimensions = pytest.mark.parametrize("d", [1, 2, 3])


def moved_samples(d=2, dtype=F64, seed=0):
    """On the way, with a price to pay for witnesses."""
    deficit = torch.tensor(0.3, dtype=dtype)
    return Samples(cloud(9, d, dtype, seed), logvolume=cloud(9, 1, dtype, 10 + seed)[:, 0], floor=0.1, deficit=deficit)


# ---- known answers


@dimensions
def test_the_likelihood_through_an_affine_map_is_that_of_a_gaussian(d):
    """A x + b ~ N(0, I) exactly where x ~ N(−A⁻¹b, (AᵀA)⁻¹)."""
    A, b, x = zoo.affine(d, F64, 0).matrix, cloud(1, d, seed=1)[0], cloud(40, d, seed=2)
    phi = Affine(A, b)
    covariance = torch.linalg.inv(A.T @ A)
    exact = torch.distributions.MultivariateNormal(torch.linalg.solve(A, -b), covariance)
    value = NLLLoss(Gaussian.standard(d, F64))(phi @ Samples(x))
    torch.testing.assert_close(value, -exact.log_prob(x).mean())
    torch.testing.assert_close(NLLLoss()(phi @ Samples(x), Gaussian.standard(d, F64)), value)
    torch.testing.assert_close(-Transported(phi, Gaussian.standard(d, F64)).log_prob(x).mean(), value)


@dimensions
def test_the_divergence_of_a_map_that_fits_is_a_constant(d):
    """φ(z) has the law π/Z for z ~ N(0, I): log π(φ(z)) + log det Dφ(z) = log N(z) + log Z, whatever z."""
    phi, z = zoo.affine(d, F64, 0), cloud(30, d, size=1.0)
    target = torch.distributions.MultivariateNormal(phi.translation, phi.matrix @ phi.matrix.T)
    logz = 0.7
    value = KLLoss(lambda x: target.log_prob(x) + logz)(phi @ Samples(z))
    standard = Gaussian.standard(d, F64)
    torch.testing.assert_close(value, -standard.log_prob(z).mean() - logz)
    other = Affine(rotation(d) * 1.3, torch.zeros(d, dtype=F64))
    expected = torch.distributions.kl_divergence(
        torch.distributions.MultivariateNormal(other.translation, other.matrix @ other.matrix.T), target
    )
    many = standard.sample(200_000, torch.Generator().manual_seed(0))
    with torch.no_grad():
        excess = KLLoss(target.log_prob)(other @ Samples(many)) + standard.log_prob(many).mean()
    assert float(excess) == pytest.approx(float(expected), rel=0.02, abs=0.01)


def test_a_trained_law_is_fitted_where_nothing_moves():
    """With the identity as φ, the likelihood is highest at mean and covariance of the samples."""
    x = cloud(200, 2) @ torch.tensor([[1.0, 0.4], [0.0, 0.7]], dtype=F64) + 0.5
    law = Gaussian(torch.zeros(2, dtype=F64), trained=True)
    still = Affine(torch.eye(2, dtype=F64), torch.zeros(2, dtype=F64))
    fit(still, [(Samples(x), None)], NLLLoss(law), max_iterations=60, tolerance=1e-12)
    best = Gaussian.fitted(x)
    assert distance(law.mean, best.mean) < 1e-4
    assert distance(law.factor, best.factor) < 1e-4


def test_a_profile_is_the_likelihood_of_the_best_gaussian():
    """No other Gaussian is better, and with shrinkage that of the shrunk covariance is meant."""
    moved = Samples(x := cloud(50, 3) @ cloud(3, 3, seed=1), logvolume=cloud(50, 1, seed=2)[:, 0])
    best = Gaussian.fitted(x)
    value = GaussianProfileLoss()(moved)
    torch.testing.assert_close(value, NLLLoss(best)(moved))
    assert value < NLLLoss(Gaussian(best.mean + 0.1, 1.1 * best.factor))(moved)
    covariance = best.factor @ best.factor.T
    shrunk = Gaussian(best.mean, torch.linalg.cholesky(0.7 * covariance + 0.3 * covariance.diagonal().diag()))
    torch.testing.assert_close(GaussianProfileLoss(0.3)(moved), NLLLoss(shrunk)(moved))


def test_a_profile_needs_a_density():
    with pytest.raises(ValueError, match="full rank"):
        GaussianProfileLoss()(Samples(cloud(3, 5)))
    assert torch.isfinite(GaussianProfileLoss(0.1)(Samples(cloud(3, 5))))
    with pytest.raises(ValueError, match="toward_diagonal"):
        GaussianProfileLoss(1.5)


@pytest.mark.parametrize("batches", [False, True])
def test_an_affine_flow_whitens(batches):
    """NLL of a learned affine map ends at the entropy of the Gaussian with these moments."""
    x = cloud(300, 2) @ torch.tensor([[1.5, 0.6], [0.0, 0.5]], dtype=F64) + 0.5
    phi = LearnedAffine(2, matrix=torch.zeros(2, 2, dtype=F64))
    data = Batches(x, shape=Samples) if batches else [(Samples(x), Gaussian.standard(2, F64))]
    loss = NLLLoss(Gaussian.standard(2, F64)) if batches else NLLLoss()
    options = {"optimizer": lambda ps: torch.optim.Adam(ps, lr=0.1)} if batches else {}
    fit(phi, data, loss, weight=0.0, max_iterations=80, **options)
    value = float(NLLLoss(Gaussian.standard(2, F64))(phi @ Samples(x)).detach())
    best = 0.5 * float(torch.logdet((x - x.mean(0)).T @ (x - x.mean(0)) / len(x))) + 1 + math.log(2 * math.pi)
    assert value == pytest.approx(best, abs=1e-3)


def test_the_barrier_is_added():
    moved, law = moved_samples(), Gaussian.standard(2, F64)
    free, dear = NLLLoss(law, 0.0)(moved), NLLLoss(law, 7.0)(moved)
    torch.testing.assert_close(dear - free, torch.tensor(7 * 0.3, dtype=F64))
    torch.testing.assert_close(free, NLLLoss(law)(dataclasses.replace(moved, deficit=None)))


def test_both_losses_are_one_formula():
    moved, law = moved_samples(), zoo.law(2, F64, 0)
    torch.testing.assert_close(KLLoss(law)(moved), NLLLoss(law)(moved))
    torch.testing.assert_close(KLLoss(law.log_prob)(moved), NLLLoss()(moved, law))


# ---- gradients


@losses
@dimensions
def test_gradients_by_finite_differences(entry, d):
    """In positions, log-volumes, the deficit, and what the loss has to learn."""
    loss, moved = entry(d), moved_samples(d)
    unknowns = [moved.x, moved.logvolume, moved.deficit, *loss.parameters()]
    start = [t.detach().clone() for t in unknowns]
    ways = [like(t[None], seed=40 + k)[0] for k, t in enumerate(start)]
    unknowns = [t.clone().requires_grad_() for t in start[:3]] + unknowns[3:]

    def value():
        x, logvolume, deficit = unknowns[:3]
        return loss(dataclasses.replace(moved, x=x, logvolume=logvolume, deficit=deficit))

    def along(s):
        with torch.no_grad():
            for t, t0, v in zip(unknowns, start, ways, strict=True):
                t.copy_(t0 + s * v)
            return float(value())

    expected = slope(along, 1e-4)
    along(0.0)
    gradients = torch.autograd.grad(value(), unknowns, materialize_grads=True, allow_unused=True)
    found = sum(float((g * v).sum()) for g, v in zip(gradients, ways, strict=True))
    assert found == pytest.approx(expected, rel=1e-7, abs=1e-9)
    torch.testing.assert_close(gradients[1], torch.full((9,), -1 / 9, dtype=F64))


# ---- units, copies, precision


@losses
def test_other_units_shift_all_values_alike(entry):
    """By what does not depend on the samples: lengths grow s times, volumes by s^d, in target and source alike."""
    loss, factor = entry(2), 3.7
    changes = []
    for seed in (0, 1):
        moved = moved_samples(seed=seed)
        grown = dataclasses.replace(moved, x=factor * moved.x)
        other = loss.rescaled(factor)
        if isinstance(other, NLLLoss) and other.law is not None:
            other = NLLLoss(other.law.rescaled(factor, torch.zeros(2, dtype=F64)), other.barrier)
        changes.append(float((other(grown) - loss(moved)).detach()))
    assert changes[0] == pytest.approx(changes[1], abs=1e-10)


@losses
def test_losses_can_be_copied(entry):
    loss, moved = entry(2), moved_samples()
    others = [copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))]
    for other in others:
        torch.testing.assert_close(other(moved), loss(moved), rtol=0, atol=0)
    again = type(loss)(**loss.arguments())
    torch.testing.assert_close(again(moved), loss(moved), rtol=0, atol=0)
    other = entry(2, seed=3)
    other.load_state_dict(loss.state_dict())
    torch.testing.assert_close(other(moved), loss(moved), rtol=0, atol=0)


@losses
def test_files_hold_what_they_can(entry, tmp_path):
    """Losses with a law come back, also from a file; a function is refused in one sentence."""
    loss, moved, file = entry(2), moved_samples(), tmp_path / "loss.safetensors"
    if not entry.saved:
        with pytest.raises(ValueError, match=r"function cannot be saved: a file holds .* or a law"):
            encode(loss)
        return
    save_tree(file, {"loss": encode(loss), "state": dict(loss.state_dict())})
    again = decode(load_tree(file)[0]["loss"])
    again.load_state_dict(load_tree(file)[0]["state"])
    torch.testing.assert_close(again(moved), loss(moved), rtol=0, atol=0)
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in loss.parameters()]


@losses
def test_precision_follows_the_samples(entry):
    loss, moved = entry(2, torch.float32), moved_samples(dtype=torch.float32)
    value = loss(moved)
    assert value.dtype == torch.float32
    assert float(value.detach()) == pytest.approx(float(entry(2)(moved_samples()).detach()), rel=1e-3, abs=1e-4)


@losses
def test_losses_add(entry):
    loss, moved = entry(2), moved_samples()
    total = loss + 0.5 * LandmarkLoss()
    target = Points(cloud(9, 2, seed=5))
    expected = loss(moved) + 0.5 * LandmarkLoss()(moved, target)
    torch.testing.assert_close(total(moved, target), expected)


@losses
def test_inputs_are_left_alone(entry):
    loss, moved = entry(2), moved_samples()
    kept = moved.x.clone(), moved.logvolume.clone()
    first = loss(moved)
    assert torch.equal(loss(moved), first)
    assert torch.equal(moved.x, kept[0])
    assert torch.equal(moved.logvolume, kept[1])


# ---- what is refused


class Column(Law):
    """A law that gives one column."""

    dim = 2
    sample = arguments = rescaled = None  # type: ignore[assignment]
    log_prob = lambda self, x: x[:, :1]  # noqa: E731


def test_what_has_no_density_is_refused():
    moved = moved_samples()
    with pytest.raises(ValueError, match=r"NLLLoss compares samples with a Law, such as .*, and got Points"):
        NLLLoss()(moved, Points(cloud(4, 2)))
    with pytest.raises(ValueError, match=r"NLLLoss expects Samples, and got Points: use Samples\(points.x\)"):
        NLLLoss(Gaussian.standard(2, F64))(Points(cloud(4, 2)))
    with pytest.raises(ValueError, match="KLLoss expects Samples, and got Image: they carry densities"):
        KLLoss(zoo.banana)(zoo.IMAGE(2))
    with pytest.raises(ValueError, match=r"a function from x \(n, d\) to log π\(x\) \(n,\), and got 3"):
        KLLoss(3)
    with pytest.raises(ValueError, match=r"log-densities of shape \(9,\), and got \(9, 1\)"):
        NLLLoss(Column())(moved)
    with pytest.raises(ValueError, match="barrier of 0 or more, and got -1"):
        NLLLoss(barrier=-1.0)
