"""Who computes features: worker processes of this machine (`local`), or a Ray cluster (`cluster`)."""
