"""The detector: feature sequences in, labelled segments out. Knows no video and no file but weights and recipes.

Importing the package imports no torch; take what is needed from its modules (`detector`, `inference.chunks`).
"""
