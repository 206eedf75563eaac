"""The process that owns an attempt on a node. It imports no torch, so that it answers signals at once."""
