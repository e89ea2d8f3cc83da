"""Files to frames, masks and labels, and back: the only room that opens data files."""
