"""``diffeo density sample``: a density in, new rows out."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from diffeo.cli.options import JSON, Switch, Whole, check_at_least, check_file
from diffeo.cli.output import print_json, print_rows, say


def sample(
    model: Path,
    /,
    *,
    number: Annotated[Whole, Parameter(name=["--number", "-n"])],
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    given: Path | None = None,
    allow_unseen: Switch = False,
    header: bool | None = None,
    seed: Whole = 0,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative="")] = False,
    json: JSON = False,
) -> int:
    """Draw new rows from the density of MODEL: a table of the columns it was learned from.

    A conditional density needs a table of what is given; for each of its rows,
    new ones are drawn, and what is given stands before them.

    Args:
        model: folder that density fit wrote, or the model.safetensors in it.
        number: how many rows; of a conditional density, for each row that is given.
        out: csv, tsv, npy or npz file for the rows; by default they are printed.
        given: table of the columns that a conditional density is conditioned on.
        allow_unseen: take categories that the fitted table lacks for unknown; by default they are an error.
        header: whether the first row of the table that is given names its columns; by default found out.
        seed: of the draw: another one, other rows.
        quiet: print no notes.
        json: print JSON: the rows by columns, and notes.
    """
    check_at_least("--number", number, 1)
    check_at_least("--seed", seed, 0)
    from diffeo.cli.density.files import check_out, model_file, to_text, write_columns

    file = model_file(model)
    if given is not None:
        check_file(given, "--given")
    if out is not None:
        check_out(out, (file,) if given is None else (file, given))
    with redirect_stdout(sys.stderr):  # some packages print when they are imported
        from diffeo.estimators.tabular_density import TableDensity
        from diffeo.tables import read_records

        found = TableDensity.load(file)
        features = found.coordinates.features
        known = found.coordinates.context if features.named else ()
        records = None if given is None else read_records(given, header, known, features.texts)
        columns, notes = found.sample(number, seed, records, lenient=allow_unseen)
    notes = [*(records.notes if records is not None else ()), *notes]
    rows = len(next(iter(columns.values())))
    if out is not None:
        write_columns(out, columns)
    elif not json:
        sys.stdout.write(to_text(columns))
    if json:
        drawn = {"columns": {name: column.tolist() for name, column in columns.items()}}
        print_json((drawn if out is None else {"file": str(out)}) | {"rows": rows, "seed": seed, "notes": notes})
    elif not quiet and out is not None:
        print_rows(str(out), [("rows", rows), ("columns", ", ".join(columns)), ("notes", "\n".join(notes))])
    elif not quiet:
        for note in notes:
            say(note[0].lower() + note[1:])
    return 0
