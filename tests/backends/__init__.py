"""Laws of diffeo.backends."""
