"""Noise mathematics: torch only, pure functions over explicit tensors."""
