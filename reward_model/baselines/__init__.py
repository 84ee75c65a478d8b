"""The field's own systems, working and corrected, behind one small interface: `arena-reward baseline KIND …`."""
