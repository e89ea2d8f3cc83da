"""A peak finder without a model: for labels, and the baseline that models are compared with."""
