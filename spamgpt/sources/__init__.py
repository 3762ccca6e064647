"""Where `spamgpt fetch` gets things: data sets and pre-trained models, published or local."""
