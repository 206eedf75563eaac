"""Where the loss is in a conversation, where no mark of its chat template says so."""
