"""Bytes by key: stores, retries and the commit transaction. Both programs use it."""
