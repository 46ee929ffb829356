"""What runs the entries: the queue of runs, the close, pauses, and the processes around them."""
