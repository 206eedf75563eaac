"""Names that come from a store: which are passed over, and where they may be written on this machine."""
