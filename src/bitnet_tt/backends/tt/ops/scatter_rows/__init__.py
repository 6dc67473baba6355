"""Write rows of a tiled tensor into slots of a paged cache."""
