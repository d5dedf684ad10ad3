"""Fields that leave c alone: what of u they keep, what it costs, and which fields have components of their own."""

import pytest
import torch

from diffeo.fields import Conditioned, ConvField, KernelField
from diffeo.fit import InV, fit
from diffeo.flows import Flow
from diffeo.kernels import GaussianKernel
from diffeo.losses import LandmarkLoss
from diffeo.shapes import Points
from tests import zoo
from tests.oracles import cloud, distance

F64 = torch.float64
entries = pytest.mark.parametrize("entry", zoo.CONDITIONED_FIELDS, ids=str)


@entries
def test_what_is_given_stays_and_the_rest_moves(entry):
    field, x = entry(2), cloud(9, 2)
    for velocity in (field, field.frozen()):
        assert not velocity(x)[:, 1].any()
        assert velocity(x)[:, 0].abs().max() > 0.01
        assert not velocity.jacobian(x)[:, 1].any()
        assert velocity.jacobian(x)[:, 0, 1].abs().max() > 0.01  # x moves as c tells it
    assert torch.equal(field.field(x), field(x))  # in u itself, components are 0


@entries
def test_nothing_pulls_at_what_stays(entry):
    """Gradients of values, derivatives and the norm in the silenced parameters are 0, so that they remain 0."""
    field, x = entry(2), cloud(9, 2)
    total = field(x).square().sum() + field.jacobian(x).square().sum() + field.divergence(x).sum() + field.sqnorm()
    total.backward()
    silenced = [p for p in field.parameters() if p.ndim == 2 and p.shape[1] == 2 and not p[:, 1].any()]
    assert len(silenced) == 1
    assert not silenced[0].grad[:, 1].any()
    assert silenced[0].grad[:, 0].any()


def test_energy_is_that_of_what_moves():
    c, a = cloud(6, 3), cloud(6, 3, seed=1)
    whole = KernelField(GaussianKernel(0.7), c, a)
    field = Conditioned(KernelField(GaussianKernel(0.7), c, a), 2)
    gram = field.field.kernel(c).dense()
    torch.testing.assert_close(field.sqnorm(), a[:, 0] @ gram @ a[:, 0])
    assert field.sqnorm() < whole.sqnorm()
    assert distance(field(c)[:, 0], whole(c)[:, 0]) < 1e-12


@pytest.mark.parametrize("optimizer", ["lbfgs", "in V"])
def test_training_leaves_what_is_given_where_it_is(optimizer):
    """Also where the loss would like it to move."""
    x = cloud(12, 3)
    phi = Flow(Conditioned(KernelField(GaussianKernel(0.8), x), 1), steps=3)
    options = {"optimizer": InV(lambda ps: torch.optim.SGD(ps, lr=0.3))} if optimizer == "in V" else {}
    history = fit(phi, [(Points(x), Points(x + 0.3))], LandmarkLoss(), weight=1e-4, max_iterations=10, **options)
    moved = phi(x)
    assert torch.equal(moved[:, 2], x[:, 2])
    assert history[-1].data < 0.6 * history[0].data
    assert (moved - x)[:, :2].mean() > 0.1
    assert torch.equal(phi.inverse(moved)[:, 2], x[:, 2])


def test_the_log_determinant_is_that_in_x():
    phi, x = zoo.field_flow(zoo.CONDITIONED_FIELDS[0].make, 3)(3, F64, 0), cloud(5, 3)
    jacobian = phi.with_jacobian(x)[1]
    block = torch.linalg.det(jacobian[:, :2, :2]).log()
    assert distance(phi.with_logdet(x)[1], block) < 1e-12


@pytest.mark.parametrize("given", [0, 2, -1, True, 1.0])
def test_the_number_given_is_refused(given):
    with pytest.raises(ValueError, match="from 1 to 1 for this field, and got"):
        Conditioned(zoo.FIELDS[0](2), given)


def test_fields_without_components_of_their_own_are_refused():
    for field in (ConvField((1, 1, 2)), zoo.DIPOLE_FIELDS[0](2), zoo.GRID_FIELDS[0](2)):
        with pytest.raises(ValueError, match=rf"for a {type(field).__name__} are not on their own: take a KernelField"):
            Conditioned(field, 1)
