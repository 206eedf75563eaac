"""The training image: what builds it on a test machine, a registry for it, and containers of it."""
