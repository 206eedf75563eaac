"""From a YAML file and the command line to a checked `Recipe`."""
