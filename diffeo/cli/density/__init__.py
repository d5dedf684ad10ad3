"""``diffeo density``: fit the density of a table, tell it for other rows, draw new ones."""

from cyclopts import App

from diffeo.cli.density.fit import fit
from diffeo.cli.density.sample import sample
from diffeo.cli.density.score import score

density = App(
    name="density",
    help="Learn what rows of numbers a table is likely to hold: fit its density, score other rows, sample new ones.",
    help_format="plaintext",
)
for verb in (fit, score, sample):
    density.command(verb)
