"""The stages of a run, and the steps that each stage takes."""
