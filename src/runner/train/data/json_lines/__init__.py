"""JSON Lines read quickly, by pyarrow's parser, where that gives the very cells that the exact reader gives."""
