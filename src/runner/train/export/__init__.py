"""What is made of a trained model: merged weights, GGUF files, a hub repository, a model card."""
