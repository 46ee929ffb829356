"""Jobs on a Ray cluster: workers as actors, one per seat on a node; the driver alone writes the ledger."""
