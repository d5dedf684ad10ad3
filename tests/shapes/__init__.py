"""Laws of diffeo.shapes."""
