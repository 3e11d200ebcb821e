"""Evaluation: prediction files against ground truth."""
