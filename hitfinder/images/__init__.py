"""Where a model looks: regions of frames, of one module or of many, as float32 with NaN."""
