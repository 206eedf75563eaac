"""What is done with runs that stay in the store: tags and notes, and room."""
