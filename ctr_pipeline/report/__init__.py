"""What is shown about a run: pages of typed blocks, figures, numbers as people read them."""
