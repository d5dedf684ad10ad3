"""Pictures of shapes, maps and fits. ``diffeo.viz.plot`` has every function; none needs a display."""
