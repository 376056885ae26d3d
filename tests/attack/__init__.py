"""Attacks on the whole: a machine of random acts, compared answer by answer with a small model."""
