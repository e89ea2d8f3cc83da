"""Fakes for tests and for people who build on hitfinder. Never imported by the live service."""
