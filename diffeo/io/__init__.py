"""Files in, shapes out, and back; and trees of tensors (transforms, checkpoints)."""

from diffeo.io.atomic import replacing
from diffeo.io.shapes import read, write
from diffeo.io.transform import describe, load, save
from diffeo.io.tree import load_tree, save_tree

__all__ = ["describe", "load", "load_tree", "read", "replacing", "save", "save_tree", "write"]
