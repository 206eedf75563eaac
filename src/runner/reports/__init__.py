"""What people read: tables, progress lines and summaries."""
