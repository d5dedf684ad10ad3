"""Laws of diffeo.fields."""
