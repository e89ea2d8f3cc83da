"""The live pipeline: three threads between an input socket and the outputs, and their watchers."""
