"""What several tests share: the command line, small datasets in official layouts, records, networks and servers."""
