"""Where a recipe fits and what it costs."""
