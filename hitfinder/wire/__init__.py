"""Bytes to events and back, without sockets, clocks or threads."""
