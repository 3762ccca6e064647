import types

import pytest
import torch
from torch.testing import assert_close

from spamgpt.gpt2.backends.products import linear, thin_products_work
from spamgpt.gpt2.model import Projection


@pytest.mark.parametrize("rows", [1, 8, 32])
def test_a_thin_product_and_its_gradients_are_those_of_the_usual_one(rows, monkeypatch):
    projection = Projection(48, 40)
    torch.nn.init.normal_(projection.weight)
    torch.nn.init.normal_(projection.bias)
    x = torch.randn(rows, 48, requires_grad=True)
    wanted = torch.rand(rows, 40)

    def outcome():
        product = projection(x)
        tensors = [x, projection.weight, projection.bias]
        return product, torch.autograd.grad((product * wanted).sum(), tensors)

    found = outcome()
    assert "ThinProduct" in type(found[0].grad_fn).__name__
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    assert_close(found, outcome(), atol=1e-5, rtol=1e-5)
    monkeypatch.undo()
    projection.requires_grad_(False)  # then only the input has a gradient
    assert_close(torch.autograd.grad((projection(x) * wanted).sum(), x)[0], found[1][0])


def wrong(x, weight, bias, activation, scalars, algorithm):
    return x.new_ones(len(x), len(weight))


@pytest.mark.parametrize("broken", ["missing", "wrong", "of another shape", "raises"])
def test_plain_torch_takes_the_place_of_an_operator_that_is_not_usable(broken, monkeypatch):
    if broken == "missing":
        monkeypatch.setattr(torch.ops, "mkldnn", types.SimpleNamespace())
    else:
        operators = {"wrong": wrong, "of another shape": lambda x, *_: x, "raises": lambda x: x}
        monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", operators[broken])
    thin_products_work.cache_clear()
    x, weight, bias = torch.rand(8, 48, requires_grad=True), torch.rand(48, 40), torch.rand(40)
    try:
        found = linear(x, weight, bias)
    finally:
        thin_products_work.cache_clear()
    assert torch.equal(found, torch.addmm(bias, x, weight))
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert_close(gradient, weight.sum(1).expand(8, -1))


@pytest.mark.parametrize("rows", [1, 64, 70])
def test_under_autocast_shapes_recur_and_products_stay_the_usual_ones(rows):
    projection = Projection(48, 40)
    torch.nn.init.normal_(projection.weight)
    torch.nn.init.normal_(projection.bias)
    x = torch.randn(rows, 48, requires_grad=True)
    tensors = [x, projection.weight, projection.bias]
    wanted = torch.rand(rows, 40)

    def outcome(product):
        with torch.autocast("cpu", torch.bfloat16):
            found = product()
        return found, torch.autograd.grad((found * wanted).sum(), tensors, retain_graph=True)

    found, gradients = outcome(lambda: projection(x))
    computed, _ = found.grad_fn.saved_tensors
    assert (len(computed) % 64, computed.dtype, found.dtype) == (0, torch.bfloat16, torch.bfloat16)
    expected = outcome(lambda: torch.addmm(projection.bias, x, projection.weight))
    assert_close((found, gradients), expected, atol=0.1, rtol=0.02)
    projection.requires_grad_(False)  # then only the input has a gradient
    with torch.autocast("cpu", torch.bfloat16):
        (of_input,) = torch.autograd.grad((projection(x) * wanted).sum(), x)
    assert_close(of_input, gradients[0])
