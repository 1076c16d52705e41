"""Proving an output afterwards: rows against objects against inputs."""
