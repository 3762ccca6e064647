"""What makes the model fast on one kind of processor; every answer is also plain torch's.

`products` and `attention` are what the model calls. `precision` makes a copy of a model whose
projections (`projections`) are in bfloat16 or int8. They use operators that torch keeps private:
`selfcheck` tries each once, and where one is missing or wrong, plain torch takes its place.
"""
