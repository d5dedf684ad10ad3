"""Tables to learn from: files to named columns, columns to matrices and targets, and back to words."""

from diffeo.tables.coordinates import Coordinates
from diffeo.tables.features import Features
from diffeo.tables.records import Records, read_records
from diffeo.tables.targets import Target, Task

__all__ = ["Coordinates", "Features", "Records", "Target", "Task", "read_records"]
