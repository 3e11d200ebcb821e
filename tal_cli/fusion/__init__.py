"""Detections joined with other scores: of whole videos, or verbs with nouns."""
