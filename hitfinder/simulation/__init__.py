"""Frames with physics in them, and their truth. numpy only, so that a demo needs nothing else."""
