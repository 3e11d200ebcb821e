"""Numerical check of this installation against recorded outputs of the published code."""
