"""The field's own systems, working and corrected, behind one small interface: `python -m baselines KIND …`."""
