"""What people read: tables and reports."""
