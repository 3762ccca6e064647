"""Shapes that recur, for products that are compiled for each new one."""

import torch
from torch import Tensor

# Rows are rounded up to a multiple of this, and to four significant bits.
_ROWS = 64


def compiled_by_shape(x: Tensor) -> bool:
    """Whether products with x are compiled for each new shape, which takes time and memory.

    oneDNN does so for bfloat16 on the CPU and keeps half a megabyte for each. Packed messages
    hardly ever have the same shape twice; rounded up, shapes recur.
    """
    return x.dtype == torch.bfloat16 and x.device.type == "cpu"


def with_recurring_rows(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """(n, channels) -> the same with rows of zeros behind, up to a number that recurs.

    `dtype` is by default that of x.
    """
    count, channels = x.shape
    step = max(_ROWS, 1 << max(0, count.bit_length() - 4))
    missing = -count % step
    if not missing:
        return x.to(dtype or x.dtype)
    rows = x.new_empty(count + missing, channels, dtype=dtype or x.dtype)
    rows[:count] = x
    rows[count:] = 0
    return rows
