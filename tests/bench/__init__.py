"""Figures of the real whole, each with the machine's own floor beside it."""
