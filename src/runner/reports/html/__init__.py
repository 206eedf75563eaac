"""Reports as one HTML file each: pure, from what `runner.control.results.report` has gathered to text."""
