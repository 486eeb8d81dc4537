"""What a user does in one go: the layer that joins steps, evaluation and tracking."""
