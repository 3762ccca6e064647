"""The daemon: one predictor behind HTTP, an OpenAI-compatible endpoint and the spamd protocol."""
