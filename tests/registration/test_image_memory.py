"""How much memory a registration of volumes takes, in a process of its own."""

import json
import subprocess
import sys

import pytest

SHAPE = (128, 150, 128)  # a head at 2 mm
SCRIPT = """
import json, resource, sys
import torch
import diffeo

torch.set_num_threads(1)
shape = tuple(json.loads(sys.argv[1]))

def peak():  # in bytes; Linux counts in KiB
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def volume(seed):
    # a ball with waves inside, made without large temporaries
    axes = [torch.linspace(-1, 1, n) for n in shape]
    x, y, z = axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
    ball = (0.8 - ((x + 0.03 * seed) ** 2 + y**2 + 1.1 * z**2)).clamp_(min=0)
    ball *= 1 + 0.5 * torch.sin(20 * x + seed) * torch.cos(17 * y) * torch.sin(15 * z + 0.3 * seed)
    affine = torch.diag(torch.tensor([-2.0, 2.0, 2.0, 1.0]))
    return diffeo.Image(100 * ball[None], diffeo.Grid(shape, affine))

source, target = volume(1), volume(0)
before = peak()
result = diffeo.register(source, target, max_iterations=3)
registered = peak()
result.save(sys.argv[2])
print(json.dumps([before, registered, peak(), result.report["data_after"] / result.report["data_before"]]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks are counted in other units elsewhere")
def test_a_head_is_registered_in_less_than_a_gigabyte(tmp_path):
    """The image is 10 MB large, its map 30 MB: a dozen of each, not a hundred, beside what is imported and compiled."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(SHAPE), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    before, registered, saved, left = json.loads(done.stdout.strip().splitlines()[-1])
    assert left < 0.9
    assert registered - before < 0.6e9  # 0.4 GB of imports come on top; measured: 0.45
    assert saved - before < 0.65e9
    assert saved < 2e9
