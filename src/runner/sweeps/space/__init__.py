"""The sweep's file, in W&B's form, and the space of recipes that it describes."""
