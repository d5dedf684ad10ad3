"""Films of results: of registrations, of training, of densities. ``diffeo.viz.film.write_film`` writes them."""
