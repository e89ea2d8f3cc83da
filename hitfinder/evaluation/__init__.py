"""What a model is worth: scores of labelled files, measures a run, thresholds, reports, plots."""
