"""How models are made: one readable recipe a model, read from top to bottom."""
