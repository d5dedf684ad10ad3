"""``diffeo density score``: a density and a table in, how likely every row is out."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from diffeo.cli.options import JSON, Switch, check_file
from diffeo.cli.output import print_json, print_rows, say


def score(
    model: Path,
    table: Path,
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    allow_unseen: Switch = False,
    header: bool | None = None,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative="")] = False,
    json: JSON = False,
) -> int:
    """Tell the logarithm of the density of MODEL at every row of TABLE, in the order of its rows.

    It is in nats, per unit of the columns, and -inf beyond their bounds. Columns
    are matched by their names, in any order, and others are not used; without a
    header they are matched by their order.

    Args:
        model: folder that density fit wrote, or the model.safetensors in it.
        table: a table with the same columns.
        out: csv, tsv, npy or npz file for the log-densities; by default they are printed.
        allow_unseen: take categories that the fitted table lacks for unknown; by default they are an error.
        header: whether the first row names the columns; by default found out.
        quiet: print no notes and no mean.
        json: print JSON: log-densities, their mean and notes.
    """
    from diffeo.cli.density.files import check_out, model_file, to_text, write_columns

    file = model_file(model)
    check_file(table, "TABLE")
    if out is not None:
        check_out(out, (file, table))
    with redirect_stdout(sys.stderr):  # some packages print when they are imported
        from diffeo.cli.density.words import in_words, likelihood
        from diffeo.estimators.tabular_density import TableDensity
        from diffeo.tables import read_records

        found = TableDensity.load(file)
        features = found.coordinates.features
        known = [feature.name for feature in features.columns]
        records = read_records(table, header, known if features.named else (), features.texts)
        values, notes = found.score(records, lenient=allow_unseen)
    notes = [*records.notes, *notes]
    columns = {"log_density": values}
    if out is not None:
        write_columns(out, columns)
    elif not json:
        sys.stdout.write(to_text(columns))
    if json:
        facts = {"log_density": values.tolist()} if out is None else {"file": str(out)}
        print_json(facts | likelihood(values) | {"notes": notes})
    elif not quiet and out is not None:
        print_rows(str(out), [("score", in_words(likelihood(values))), ("notes", "\n".join(notes))])
    elif not quiet:
        for note in notes:
            say(note[0].lower() + note[1:])
        say(f"{in_words(likelihood(values))}.")
    return 0
