"""A sweep's worker: takes trials from the store, one after the other, and reports what became of them."""
