"""Comparisons with other systems, one command each. Figures and commands go to docs/LOG.md."""
