"""The recipe that makes the embedded weights (extra `train`)."""
