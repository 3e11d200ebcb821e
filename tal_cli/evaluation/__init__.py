"""Evaluation of prediction files against ground truth."""
