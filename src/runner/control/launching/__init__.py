"""What launching and resuming are made of: preparing a recipe, choosing a run, its cost, submitting and starting it."""
