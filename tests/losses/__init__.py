"""Laws of diffeo.losses."""
