"""Drills: the real whole under kills, and what must still be true afterwards."""
