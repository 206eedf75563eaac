"""Which values the next trial gets: at random, from the grid, or as Optuna suggests."""
