"""Losses with a read-out where the answer is known: by hand, from scikit-learn, or because nothing is better."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from diffeo.fit import fit
from diffeo.flows import Affine, LearnedAffine
from diffeo.heads import LinearReadOut
from diffeo.kernels import GaussianKernel, LaplacianKernel
from diffeo.losses import (
    CrossEntropyLoss,
    KernelRidgeLoss,
    LeaveOneOutLoss,
    LikelihoodLoss,
    ProcessLoss,
    RidgeLoss,
    SquaredLoss,
)
from diffeo.losses.nystrom import Reduced, least
from diffeo.shapes import Points
from tests import zoo_of_learning as learning
from tests.oracles import cloud, distance, like, relative, seeds

F64 = torch.float64
KERNEL = GaussianKernel(0.8)


def data(seed=0, n=40, d=3):
    """Points, and values that depend on them."""
    x = cloud(n, d, seed=seed)
    y = torch.stack([(3 * x[:, 0]).sin(), x.square().sum(1)], 1) + 0.1 * cloud(n, 2, seed=seed + 1)
    return Points(x), y


# ---- cross-entropy and squared error


def head_of(scores):
    """A read-out that gives these scores, shape (k,), to every point."""
    k, offset = len(scores), torch.tensor(scores, dtype=F64)
    return LinearReadOut(2, k, trained=False, weight=torch.zeros(k, 2, dtype=F64), offset=offset)


def test_cross_entropy_by_hand():
    moved, labels = Points(cloud(6, 2)), torch.tensor([0, 0, 1, 1, 2, 2])
    assert float(CrossEntropyLoss(head_of([0.0, 0.0, 0.0]))(moved, labels)) == pytest.approx(math.log(3))
    scores = [1.0, 2.0, 4.0]
    log_total = math.log(sum(map(math.exp, scores)))
    plain = log_total - 7 / 3
    assert float(CrossEntropyLoss(head_of(scores))(moved, labels)) == pytest.approx(plain)
    # a share of the target is spread over all classes
    labels = torch.full((6,), 2)
    smooth = CrossEntropyLoss(head_of(scores), smoothing=0.3)(moved, labels)
    assert float(smooth) == pytest.approx(log_total - 0.7 * 4.0 - 0.3 * 7 / 3)


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_huge_scores_do_not_overflow(size):
    moved, labels = Points(size * torch.tensor([[1.0], [-1.0]])), torch.tensor([0, 1])
    head = LinearReadOut(1, 2, weight=torch.tensor([[1.0], [-1.0]]))
    x = moved.x.clone().requires_grad_()
    right, wrong = (CrossEntropyLoss(head)(Points(x), y) for y in (labels, 1 - labels))
    assert float(right.detach()) == 0
    assert float(wrong.detach()) == pytest.approx(2 * size, rel=1e-6)
    for value in (right, wrong):
        (gradient,) = torch.autograd.grad(value, x)
        assert bool(torch.isfinite(gradient).all())


def test_the_squared_error_is_that_of_residuals():
    moved, y = data(d=2)
    head = learning.read_out(2)(2, F64, 0)
    head = head.requires_grad_(False)
    expected = sum(float((head(moved.x)[i] - y[i]).norm()) ** 2 / 2 for i in range(40)) / 40
    assert float(SquaredLoss(head)(moved, y)) == pytest.approx(expected)
    assert SquaredLoss(head)(moved, head(moved.x).detach()) == 0
    one = learning.read_out(1)(2, F64, 0)
    assert SquaredLoss(one)(moved, y[:, 0]) == SquaredLoss(one)(moved, y[:, :1])


# ---- ridge


@given(seed=seeds)
def test_ridge_is_that_of_scikit_learn(seed):
    moved, y = data(seed % 1000)
    weights = cloud(40, 1, seed=seed)[:, 0].abs() + 0.1
    for points, w in ((moved, None), (Points(moved.x, weights=weights), weights / weights.mean())):
        loss = RidgeLoss(0.7)
        loss.remember(points, y)
        peer = Ridge(alpha=0.7).fit(moved.x.numpy(), y.numpy(), None if w is None else w.numpy())
        assert distance(loss.predict(moved), torch.from_numpy(peer.predict(moved.x.numpy()))) < 1e-10
        squares = (loss.predict(moved) - y).square().sum(1)
        mean = float((squares if w is None else w * squares).sum() + 0.7 * np.sum(peer.coef_**2)) / 80
        assert float(loss(points, y)) == pytest.approx(mean, rel=1e-10)


@given(seed=seeds)
def test_no_linear_read_out_is_better_than_ridge(seed):
    moved, y = data(seed % 1000)
    loss = RidgeLoss(0.7)
    loss.remember(moved, y)
    assert loss.head.weight.shape == (2, 3)

    def objective(head):
        return float(SquaredLoss(head)(moved, y) + 0.7 / 80 * head.weight.square().sum())

    assert objective(loss.head) == pytest.approx(float(loss(moved, y)), rel=1e-12)
    for size in (1e-3, 0.1, 1.0):
        weight, offset = (
            loss.weight + size * like(loss.weight, seed=seed),
            loss.offset + size * cloud(1, 2, seed=seed)[0],
        )
        other = LinearReadOut(3, 2, trained=False, weight=weight, offset=offset)
        assert objective(other) > float(loss(moved, y))


@given(seed=seeds)
def test_the_gradient_of_ridge_is_that_behind_its_best_read_out(seed):
    """The envelope theorem."""
    moved, y = data(seed % 1000)
    loss = RidgeLoss(0.7)
    loss.remember(moved, y)
    gradients = []
    for other in (loss, SquaredLoss(loss.head)):
        x = moved.x.clone().requires_grad_()
        gradients += torch.autograd.grad(other(Points(x), y), x)
    assert relative(*gradients) < 1e-10


def test_ridge_without_a_penalty_is_least_squares():
    moved, y = data()
    values = moved.x @ cloud(3, 2, seed=7) + 1.5
    loss = RidgeLoss(0.0)
    assert abs(float(loss(moved, values))) < 1e-25
    loss.remember(moved, values)
    assert distance(loss.predict(moved), values) < 1e-12
    flat = Points(torch.cat([moved.x, moved.x.sum(1, keepdim=True)], 1))
    with pytest.raises(ValueError, match=r"RidgeLoss cannot solve .* the system is singular; give a positive penalty"):
        loss(flat, y)
    assert float(RidgeLoss(1e-6)(flat, y)) == pytest.approx(float(loss(moved, y)), rel=1e-5)


def test_ridge_does_not_mind_units_of_coordinates():
    """Columns of very different size are no reason to call a system singular."""
    moved, y = data()
    grown = Points(moved.x * torch.tensor([1e-6, 1.0, 1e7], dtype=F64))
    assert float(RidgeLoss(0.0)(grown, y)) == pytest.approx(float(RidgeLoss(0.0)(moved, y)), rel=1e-9)


def test_labels_are_read_out_as_memberships():
    """Scores of separated classes are 1 for the right one and 0 for the others, and add to 1 everywhere."""
    centers = torch.eye(3, dtype=F64)
    labels = torch.arange(30) % 3
    moved = Points(centers[labels] + 1e-3 * cloud(30, 3))
    for loss in (RidgeLoss(1e-6), KernelRidgeLoss(KERNEL, 1e-6)):
        loss.remember(moved, labels)
        assert distance(loss.predict(moved), torch.nn.functional.one_hot(labels).to(F64)) < 0.02
        assert distance(loss.predict(data(d=3)[0]).sum(1), torch.ones(40, dtype=F64)) < 1e-8


# ---- kernel ridge


@given(seed=seeds)
def test_kernel_ridge_is_that_of_scikit_learn(seed):
    moved, y = data(seed % 1000)
    weights = cloud(40, 1, seed=seed)[:, 0].abs() + 0.1
    peer = KernelRidge(alpha=0.2, kernel="rbf", gamma=1 / (2 * 0.8**2))
    for points, w in ((moved, torch.ones(40, dtype=F64)), (Points(moved.x, weights=weights), weights / weights.mean())):
        loss = KernelRidgeLoss(KERNEL, 0.2)
        loss.remember(points, y)
        mean = (w[:, None] * y).mean(0)
        peer.fit(moved.x.numpy(), (y - mean).numpy(), w.numpy())
        new = cloud(9, 3, seed=seed)
        assert distance(loss.predict(Points(new)), torch.from_numpy(peer.predict(new.numpy())) + mean) < 1e-9
        norm = np.trace(peer.dual_coef_.T @ KERNEL(moved.x).dense().numpy() @ peer.dual_coef_)
        squares = (w * (loss.predict(moved) - y).square().sum(1)).sum()
        assert float(loss(points, y)) == pytest.approx(float(squares + 0.2 * norm) / 80, rel=1e-9)


def test_kernel_ridge_is_the_formula():
    """λ/2n · tr Yᵀ(K(x, x) + λI)⁻¹Y (Owhadi, arXiv 2008.03920)."""
    moved, y = data()
    y = y - y.mean(0)
    matrix = KERNEL(moved.x).dense() + 0.2 * torch.eye(40, dtype=F64)
    expected = 0.2 / 80 * torch.trace(y.T @ torch.linalg.inv(matrix) @ y)
    torch.testing.assert_close(KernelRidgeLoss(KERNEL, 0.2)(moved, y), expected, rtol=1e-11, atol=0)


def test_points_that_coincide_need_a_penalty():
    moved, y = data()
    twice = Points(moved.x.repeat(2, 1))
    with pytest.raises(ValueError, match=r"points coincide, .* the system is singular; give a positive penalty"):
        KernelRidgeLoss(KERNEL, 0.0)(twice, y.repeat(2, 1))
    assert float(KernelRidgeLoss(KERNEL, 0.1)(twice, y.repeat(2, 1))) > 0
    with pytest.raises(ArithmeticError):  # so that a step that led there is taken back
        KernelRidgeLoss(KERNEL, 0.0)(twice, y.repeat(2, 1))
    exact = KernelRidgeLoss(GaussianKernel(0.1), 0.0)  # interpolation
    exact.remember(moved, y)
    assert exact(moved, y) == 0
    assert distance(exact.predict(moved), y) < 1e-10


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_all_points_as_centers_are_exact(weighted):
    moved, y = data()
    if weighted:
        moved = Points(moved.x, weights=cloud(40, 1, seed=9)[:, 0].abs())
    loss, gradients = KernelRidgeLoss(KERNEL, 0.2), []

    def reduced(points, y):
        d = loss.regression(points, y)
        plain = d._replace(x=d.x.detach())
        return least(Reduced(KERNEL, plain, torch.randperm(40), 0.2, "KernelRidgeLoss"), d.x, d.y)

    values = []
    for value in (loss, reduced):
        x = moved.x.clone().requires_grad_()
        values.append(value(moved.with_positions(x), y))
        gradients += torch.autograd.grad(values[-1], x)
    torch.testing.assert_close(*values, rtol=1e-6, atol=0)
    assert relative(*gradients) < 1e-5


def test_more_centers_are_better():
    """They span more, one being drawn after the other; from a third of the points on, all are taken."""
    moved, y = data(n=60)
    values = [float(KernelRidgeLoss(KERNEL, 0.01, centers=m)(moved, y)) for m in (2, 5, 10, 15, 19, 20)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 5 * values[-1]
    assert values[-1] == float(KernelRidgeLoss(KERNEL, 0.01)(moved, y))
    loss = KernelRidgeLoss(KERNEL, 0.01, centers=15)
    loss.remember(moved, y)
    assert len(loss.points) == 15
    squares = (loss.predict(moved) - y).square().sum()
    coefficients, gram = loss.coefficients, KERNEL(loss.points).dense()
    least_value = (squares + 0.01 * torch.trace(coefficients.T @ gram @ coefficients)) / 120
    assert float(least_value) == pytest.approx(values[3], rel=1e-5)


# ---- Gaussian processes


def brute_force(loss, moved, y):
    """Errors at every point, of fits to the others; the mean is that of all."""
    mean, errors = y.mean(0), []
    for i in range(len(y)):
        others = torch.arange(len(y)) != i
        matrix = loss.kernel(moved.x[others]).dense() + loss.penalty * torch.eye(len(y) - 1, dtype=F64)
        alpha = torch.linalg.solve(matrix, y[others] - mean)
        errors.append(y[i] - mean - (loss.kernel(moved.x[i : i + 1], moved.x[others]).dense() @ alpha)[0])
    return torch.stack(errors)


@pytest.mark.parametrize("cls", [KernelRidgeLoss, LeaveOneOutLoss], ids=lambda cls: cls.__name__)
def test_left_out_errors_by_brute_force(cls):
    moved, y = data()
    loss = cls(KERNEL, 0.2)
    errors = brute_force(loss, moved, y)
    assert relative(loss.leave_one_out(moved, y), errors) < 1e-10
    even = Points(moved.x, weights=torch.full((40,), 3.0, dtype=F64))
    assert relative(loss.leave_one_out(even, y), errors) < 1e-10
    if cls is LeaveOneOutLoss:
        assert float(loss(moved, y)) == pytest.approx(float(errors.square().sum()) / 80, rel=1e-10)


@pytest.mark.parametrize("centers", [100, 12], ids=["exact", "on centers"])
def test_left_out_errors_of_weighted_points(centers):
    """They are those of fits in which the point has no weight, to values less the mean with it."""
    moved, y = data()
    weights = cloud(40, 1, seed=9)[:, 0].abs() + 0.1
    weights[1] = 0
    errors = KernelRidgeLoss(KERNEL, 0.2, centers=centers).leave_one_out(Points(moved.x, weights=weights), y)
    y = y - (weights[:, None] * y).sum(0) / weights.sum()
    for i in (0, 1, 17, 39):
        lighter = weights.clone()
        lighter[i] = 0
        # the penalty is compared with weights of mean 1
        loss = KernelRidgeLoss(KERNEL, 0.2 * float(weights.sum() / lighter.sum()), centers=centers)
        without = loss.regression(Points(moved.x, weights=lighter), y)._replace(y=y)
        assert relative(errors[i], y[i] - loss.system(without).fitted[i]) < 1e-6


def test_the_likelihood_is_that_of_scikit_learn():
    """At the most likely amplitude."""
    moved, y = data()
    y = y[:, :1] - y[:, :1].mean(0)
    ours = float(LikelihoodLoss(KERNEL, 0.05)(moved, y))
    matrix = KERNEL(moved.x).dense() + 0.05 * torch.eye(40, dtype=F64)
    amplitude = float((y * torch.linalg.solve(matrix, y)).sum() / 40)

    def theirs(s2):
        kernel = ConstantKernel(s2) * RBF(0.8) + WhiteKernel(0.05 * s2)
        peer = GaussianProcessRegressor(kernel, optimizer=None, alpha=0.0).fit(moved.x.numpy(), y.numpy())
        return -peer.log_marginal_likelihood_value_ / 40

    assert ours == pytest.approx(theirs(amplitude), rel=1e-10)
    assert ours < min(theirs(1.1 * amplitude), theirs(0.9 * amplitude))


@pytest.mark.parametrize("cls", [LikelihoodLoss, LeaveOneOutLoss], ids=lambda cls: cls.__name__)
def test_penalty_and_metric_are_learned(cls):
    """A learned affine map flattens the column that is noise; the likeliest penalty is the noise's share."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(80, 2, generator=draw, dtype=F64)
    clean = (2 * x[:, :1]).sin()
    y = clean + 0.3 * torch.randn(80, 1, generator=draw, dtype=F64)
    loss, phi = cls(GaussianKernel(1.0), 1.0, trained=True), LearnedAffine(2).to(F64)
    with torch.no_grad():
        first = float(loss(Points(x), y))
    history = fit(phi, [(Points(x), y)], loss, weight=0.0, max_iterations=15)
    assert history[-1].data < first - 0.01
    with torch.no_grad():
        moved = phi @ Points(x)
        loss.remember(moved, y)
        error = (loss.predict(moved) - clean).square().mean().sqrt()
        stretch = phi.matrix.norm(dim=0)
    assert error < 0.15
    assert stretch[1] < 0.4 * stretch[0]
    if cls is LikelihoodLoss:
        assert 0.02 < loss.penalty < 0.5


@pytest.mark.parametrize("cls", [LikelihoodLoss, LeaveOneOutLoss], ids=lambda cls: cls.__name__)
def test_what_cannot_be_judged_is_refused(cls):
    moved, y = data()
    with pytest.raises(
        ValueError, match=r"exactly, for at most 30 points with centers=10, and got 40: train in batches"
    ):
        cls(KERNEL, 0.1, centers=10)(moved, y)
    with pytest.raises(ValueError, match="expects targets that differ, and all 40 are alike"):
        cls(KERNEL, 0.1)(moved, torch.ones(40, 1, dtype=F64))
    with pytest.raises(ValueError, match="expects a positive penalty, and got 0"):
        cls(KERNEL, 0.0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CrossEntropyLoss(LinearReadOut(2, 1)), "two classes or more, and got 1"),
        (lambda: CrossEntropyLoss(LinearReadOut(2, 2), smoothing=1.0), "a smoothing from 0 to below 1, and got 1.0"),
        (lambda: RidgeLoss(-1.0), "RidgeLoss expects a finite penalty that is 0 or more, and got -1.0"),
        (lambda: RidgeLoss(math.nan), "finite penalty that is 0 or more, and got nan"),
        (lambda: RidgeLoss(1.0, classes=1), "RidgeLoss expects two classes or more, and got 1"),
        (lambda: KernelRidgeLoss(KERNEL, 1.0, centers=0), "a number of centers that is 1 or more, and got 0"),
    ],
    ids=range(6),
)
def test_arguments_that_do_not_fit_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# ---- learned kernels


def test_what_a_process_is_judged_by():
    """Half its likelihood, half the probability of every value given the others, found by leaving them out in turn."""
    kernel, noise, (moved, y) = GaussianKernel(0.8), 0.05, data()
    loss = ProcessLoss(2.0 * kernel, 2 * noise)  # the scale of all is the most likely one, whatever it is given
    n, y = len(y), y - y.mean(0)
    matrix = kernel(moved.x).dense() + noise * torch.eye(n, dtype=F64)
    means, variances = torch.empty_like(y), torch.empty(n, dtype=F64)
    for i in range(n):
        rest = [j for j in range(n) if j != i]
        weights = torch.linalg.solve(matrix[rest][:, rest], matrix[rest, i])
        means[i], variances[i] = weights @ y[rest], matrix[i, i] - weights @ matrix[rest, i]
    scale = ((y - means).square() / variances[:, None]).mean()
    normal = torch.distributions.Normal(means, (scale * variances).sqrt()[:, None])
    foreseen = -float(normal.log_prob(y).sum()) / n
    likelihood = float(LikelihoodLoss(kernel, noise)(moved, y))
    assert loss(moved, y).item() == pytest.approx((foreseen + likelihood) / 2, rel=1e-10)


def test_slopes_in_weights_and_scales():
    """Finite differences."""
    loss = ProcessLoss(0.7 * GaussianKernel(0.8) + 0.2 * LaplacianKernel(0.3), 0.05)
    moved, y = data()
    loss(moved, y).backward()
    for parameter in (loss.log_weights, loss.log_scales):
        assert parameter.grad is not None
        for m in range(2):
            values = []
            for step in (1e-5, -2e-5):
                with torch.no_grad():
                    parameter[m] += step
                    values.append(float(loss(moved, y)))
            with torch.no_grad():
                parameter[m] += 1e-5
            assert (values[0] - values[1]) / 2e-5 == pytest.approx(float(parameter.grad[m]), rel=1e-6, abs=1e-9)


def test_a_process_finds_the_scale_of_what_it_sees():
    """Values drawn from a process of scale 0.5 with little noise: the most likely scale is about that one."""
    x = torch.linspace(0, 10, 150, dtype=F64)[:, None]
    cover = GaussianKernel(0.5)(x).dense() + 1e-4 * torch.eye(150, dtype=F64)
    y = torch.linalg.cholesky(cover) @ torch.randn(150, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
    loss = ProcessLoss(GaussianKernel(1.5), 0.01)
    phi = Affine(torch.eye(1, dtype=F64), torch.zeros(1, dtype=F64))
    fit(phi, [(Points(x), y)], loss, max_iterations=40)
    assert loss.kernel.scales[0] == pytest.approx(0.5, rel=0.1)
    assert loss.penalty / loss.kernel.at_zero == pytest.approx(1e-4, rel=0.5)


def test_a_process_learns_one_scale_per_term():
    with pytest.raises(ValueError, match="several: give it a sum"):
        ProcessLoss(2.0 * (GaussianKernel(1.0) + GaussianKernel(0.5)), 0.1)
