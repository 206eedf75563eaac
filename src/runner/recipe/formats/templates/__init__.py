"""Templates of data entries: columns that are made of the fields of a row."""
