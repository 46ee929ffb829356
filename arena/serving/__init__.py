"""What a contest and a shared project are served with: database, intake, limits, events, headers, processes."""
