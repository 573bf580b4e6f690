"""HTML report of runs, and the page of claims."""
