"""Reading a sweep's file: its keys, and what each takes."""
