"""What a person does with a sweep: each use case is one function below its command."""
