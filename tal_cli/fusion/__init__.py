"""Fusion of detections with other scores: video-level class scores, or verbs with nouns."""
