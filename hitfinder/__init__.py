"""hitfinder: the online hit finder for serial crystallography. docs/architecture.md has the map."""

__version__ = "0.1.0"
