"""An evaluation as one page for people."""
