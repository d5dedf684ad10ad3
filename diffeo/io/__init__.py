"""Files in, shapes out, and back; maps as other programs have them; trees of tensors (transforms, checkpoints)."""

from diffeo.io.atomic import replacing
from diffeo.io.shapes import read, write
from diffeo.io.transform import describe, load, save
from diffeo.io.tree import load_tree, save_tree
from diffeo.io.warps import read_warp, write_warp

__all__ = [
    "describe",
    "load",
    "load_tree",
    "read",
    "read_warp",
    "replacing",
    "save",
    "save_tree",
    "write",
    "write_warp",
]
