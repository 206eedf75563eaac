"""Real object stores on loopback for the tests, and faults between them and the client."""
