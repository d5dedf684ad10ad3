"""Ways to a diffeomorphism: shoot it, flow it, grow it; affine maps; compositions."""

from diffeo.core import Compose, Inverse
from diffeo.flows.affine import Affine
from diffeo.flows.columns import Bounded
from diffeo.flows.descent import Descent
from diffeo.flows.epdiff import GridGeodesic
from diffeo.flows.exponential import Exponential
from diffeo.flows.field_descent import FieldDescent
from diffeo.flows.field_geodesic import FieldGeodesic
from diffeo.flows.flow import Flow
from diffeo.flows.geodesic import Geodesic
from diffeo.flows.grid_descent import GridDescent
from diffeo.flows.gridded import Gridded, Warp
from diffeo.flows.layered import Layered
from diffeo.flows.learned_affine import LearnedAffine

__all__ = [
    "Affine",
    "Bounded",
    "Compose",
    "Descent",
    "Exponential",
    "FieldDescent",
    "FieldGeodesic",
    "Flow",
    "Geodesic",
    "GridDescent",
    "GridGeodesic",
    "Gridded",
    "Inverse",
    "Layered",
    "LearnedAffine",
    "Warp",
]
