"""Every demo, at a small size."""
