"""Looking at runs while they run: all that is alive at a glance, and what several runs print and measure."""
