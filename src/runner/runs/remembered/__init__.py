"""What is remembered of runs that have ended, so that a listing need not read them: by this machine, by the store."""
