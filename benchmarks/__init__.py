"""Measurements against peers, each one command; figures and commands go to docs/LOG.md."""
