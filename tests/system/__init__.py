"""Real processes, real sockets on loopback, real files."""
