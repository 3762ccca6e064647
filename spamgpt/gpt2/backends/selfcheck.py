"""Tries a private operator of torch on a tiny product before anything relies on it.

Such operators may be missing from a build of torch, change their arguments between versions, or be
wrong on a processor that nobody tried.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# (x, weight, bias) -> (n, outputs)
Product = Callable[[Tensor, Tensor, Tensor], Tensor]


@torch.no_grad()
def agrees(product: Product, expected: Product, tolerance: float) -> bool:
    """Whether a product of 5 rows, 16 inputs and 8 outputs is what plain torch says it is.

    `tolerance` is absolute; the product's entries are about 1. An operator that raises disagrees.
    Nothing is drawn at random: the caller's random state stays as it was.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    # The caller may compute elsewhere, in another precision, or under autocast.
    with torch.device("cpu"), torch.autocast("cpu", enabled=False):
        x = torch.linspace(-3, 40, 5 * 16, dtype=torch.float32).sin().view(5, 16)
        weight = torch.linspace(1, 90, 16 * 8, dtype=torch.float32).cos().view(16, 8) / 4
        bias = torch.linspace(-1, 1, 8, dtype=torch.float32)
        try:
            found = product(x, weight, bias).float()
        except Exception:  # Whatever it is, there is another way to the same product.
            return False
        wanted = expected(x, weight, bias)
    return found.shape == wanted.shape and torch.allclose(found, wanted, rtol=0, atol=tolerance)
