"""Recipes before a launch: checked, written anew, converted from other tools, shown row by row."""
