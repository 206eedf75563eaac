"""What tests share and is not a test: servers, fakes of our protocols, forked attempts, recipes."""
