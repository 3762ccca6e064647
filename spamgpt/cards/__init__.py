"""Model cards, made from what a run recorded."""
