"""`metaloop ui`: the studies below a folder in a browser, live and read-only."""
