"""How a classifier leaves for other tools and comes from them: one file a format, both ways in it.

`reading` tells from what lies at a path which of them it is.
"""
