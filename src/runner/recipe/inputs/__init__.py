"""The datasets, models and files that a recipe names, inspected cheaply and without torch."""
