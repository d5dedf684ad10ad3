"""Every test starts from the same random numbers, and none takes more than the machine has."""

import random

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "diffeo",
    max_examples=5,
    deadline=None,  # the first example may compile a loop
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("diffeo")
torch.set_num_threads(1)  # on a busy machine, threads that wait for each other's tiny tasks make tests 50 times slower


@pytest.fixture(autouse=True)
def _same_random_numbers():
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002, geomloss and scipy may use it
    torch.manual_seed(0)
