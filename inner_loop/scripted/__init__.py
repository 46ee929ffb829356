"""What the scripted researcher proposes, screens, keeps and confirms by."""
