"""A dataset's frames onto a socket as a detector would send them, at a given rate."""
