"""Texture score to denoising steps."""
