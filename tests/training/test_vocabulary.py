from spamgpt.gpt2.tokenizer import Tokenizer
from spamgpt.training.vocabulary import learn_vocabulary


def test_a_learnt_vocabulary_is_one_that_the_models_tokenizer_reads(tmp_path):
    texts = [f"see you at {n}, then we eat" for n in range(200)]
    learn_vocabulary(iter(texts), 300, tmp_path)
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.vocab_size == 300
    (ids,) = tokenizer.encode(["see you"])
    assert len(ids) < 7
    assert tokenizer.encoding.decode(ids) == "see you"
