"""What a beamline installs beside the program; Python only where a file here is made by code."""
