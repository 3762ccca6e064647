"""Dropout (Srivastava et al. 2014), in the places where GPT-2 has it; off unless set."""

from spamgpt.gpt2.model import GPT2


def set_dropout(gpt2: GPT2, share: float, first_block: int = 0, embeddings: bool = True) -> None:
    """Lets a model that is in training mode drop a share, from 0 to below 1, at random.

    As transformers' `embd_pdrop`, `attn_pdrop` and `resid_pdrop`: of what the embeddings give, of
    the attention weights, and of what attention and MLP add to the residual stream. Blocks before
    `first_block`, and with `embeddings=False` the embeddings, drop nothing: those that are frozen
    give the same at every step.
    """
    gpt2.dropout = share if embeddings else 0.0
    for block in gpt2.blocks(first_block):
        block.attn.dropout = block.mlp.dropout = share
