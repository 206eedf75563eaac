"""What the control side asks the Hugging Face hub."""
