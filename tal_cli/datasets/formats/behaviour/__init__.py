"""Formats of other programs for labelling behaviour."""
