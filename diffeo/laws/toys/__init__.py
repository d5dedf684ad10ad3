"""Seven laws in the plane on which densities are fitted, with their exact log-densities and entropies.

They are the ones that have been drawn since the first continuous flows; the constants are those of FFJORD
(Grathwohl et al., ICLR 2019), and points are drawn independently.
"""

from diffeo.laws.toys.curves import Moons as Moons
from diffeo.laws.toys.curves import SwissRoll as SwissRoll
from diffeo.laws.toys.curves import TwoSpirals as TwoSpirals
from diffeo.laws.toys.formulas import Checkerboard as Checkerboard
from diffeo.laws.toys.formulas import EightGaussians as EightGaussians
from diffeo.laws.toys.formulas import Rings as Rings
from diffeo.laws.toys.pinwheel import Pinwheel as Pinwheel
from diffeo.laws.toys.toy import Toy as Toy

TOYS: dict[str, type[Toy]] = {
    "pinwheel": Pinwheel,
    "2spirals": TwoSpirals,
    "checkerboard": Checkerboard,
    "rings": Rings,
    "8gaussians": EightGaussians,
    "moons": Moons,
    "swissroll": SwissRoll,
}
