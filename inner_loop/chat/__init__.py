"""What a model that proposes changes reads and answers."""
