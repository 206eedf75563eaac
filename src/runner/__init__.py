"""`runner`: fine-tune language models anywhere, and lose nothing when the machine goes away."""

__version__ = "0.1.0"
