"""Pure arithmetic: how a recipe runs on a GPU, its memory and its hours. Both programs use it."""
