"""The live page: what the service publishes, shown. Only subscribes; nobody waits for it."""
