"""From a checked recipe to a run: submit it, supervise it, look at it, bring it back."""
