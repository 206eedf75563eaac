"""One readable script per training method."""
