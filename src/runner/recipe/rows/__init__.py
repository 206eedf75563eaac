"""The rows of data files, each cell as it is written there; both programs read them through this."""
