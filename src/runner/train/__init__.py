"""The program that runs inside the container: recipe in; checkpoints, metrics and artifacts out."""
