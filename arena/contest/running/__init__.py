"""What runs the entries: the queue, the steward of runs, pauses, and the processes around them."""
