"""What rows mean: formats, turns, tools and templates, and what TRL is given of a row. Both programs convert by it."""
