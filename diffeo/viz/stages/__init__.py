"""Shapes on their way, drawn on axes at any moment: what films and filmstrips show."""
