"""What the service costs, measured. RESULTS.md has the figures; nothing here is a test."""
