"""Files in, shapes out, and back; and trees of tensors (transforms, checkpoints)."""

from diffeo.io.atomic import replacing
from diffeo.io.shapes import read, write
from diffeo.io.tree import load_tree, save_tree

__all__ = ["load_tree", "read", "replacing", "save_tree", "write"]
