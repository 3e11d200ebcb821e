"""Evaluation of behaviour: frames, bouts as they are shown, and points."""
