"""Pixels and files: no model, no network."""
