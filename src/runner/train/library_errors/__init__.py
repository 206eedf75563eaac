"""The libraries' errors that a mistake in the recipe, the model or the data causes: what, where, and what to write.

Tables, one for each library, matched by the names of the error's classes and by words that are stable in its message.
No library is imported here: each is only asked for the names of its classes.
"""
