"""Capture, snapshot, stage and upload a checkpoint, and resume from one bit for bit."""
