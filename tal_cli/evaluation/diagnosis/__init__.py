"""Error analysis of detections (Alwassel et al. 2018)."""
