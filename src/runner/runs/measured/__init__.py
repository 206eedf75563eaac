"""What attempts have measured of their machines: read, and made short."""
