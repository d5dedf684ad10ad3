"""Laws of diffeo.flows."""
