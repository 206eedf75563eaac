"""Model, tokenizer, adapter, precision and quantization."""
