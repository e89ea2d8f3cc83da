"""The networks, each a torch module from raw pixels to score, as it is exported."""
