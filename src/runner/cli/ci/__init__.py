"""What the commands of `runner ci` share."""
