"""What the documents claim, measured: python -m benchmarks all

Every figure of speed is a ratio to a peer measured in the same run on the same weights, since
machines differ and are noisy. The other figures: `python -m benchmarks.accuracy`; what the
commands in the documents print, `python -m website console` writes.
"""
