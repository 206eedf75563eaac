"""Where runs live: one protocol over a local folder and object stores, and the transaction that commits files."""
