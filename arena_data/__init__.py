"""Rows of any arena release in, typed battles out. Knows nothing of models."""
