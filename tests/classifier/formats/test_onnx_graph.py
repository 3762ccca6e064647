import onnx
import pytest

from spamgpt.classifier.formats.onnx_graph import build


def model_of(classifier, int8: bool = False) -> onnx.ModelProto:
    model, tensors = classifier.model, classifier._sources.tensors
    temperature = classifier.config.temperature
    return build(model.gpt2.config, tensors, model.ngrams, temperature, int8)


@pytest.mark.parametrize("ngrams", [False, True])
def test_batch_and_length_are_free(train, ngrams):
    model = model_of(train(ngrams=ngrams))
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "input_ids": ["messages", "tokens"],
        "attention_mask": ["messages", "tokens"],
        "logits": ["messages", 2],
        "probabilities": ["messages", 2],
    }
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("int8", [False, True])
def test_in_int8_the_projections_of_the_blocks_and_nothing_else_are_integers(train, int8):
    model = model_of(train(), int8)
    integers = [
        tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT8
    ]
    # Query, key, value, output, and the two of the MLP, in each of two blocks.
    assert len(integers) == (12 if int8 else 0)


def test_the_same_classifier_gives_the_same_bytes(train):
    classifier = train()
    first, second = (model_of(classifier).SerializeToString() for _ in range(2))
    assert first == second
