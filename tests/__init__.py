"""Laws, run over a list of every implementation: see `zoo`."""
