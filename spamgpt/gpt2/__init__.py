"""GPT-2 and what turns it into a classifier: config, weights, tokenizer, model, head.

This package imports nothing else of spamgpt, so that it can be lifted out and used elsewhere. Read
it in the order `config`, `packing`, `model`, `pooling`, `classifier`, `adapters`; `weights` and
`tokenizer` read the files of a Hugging Face model folder, `folder` all of them together.
`language_model` is what pre-training minimises. `backends` holds what makes the model fast on one
kind of processor.
"""
