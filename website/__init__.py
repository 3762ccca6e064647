"""How the site of the documents is made: `python -m website` builds it into `site/`."""
