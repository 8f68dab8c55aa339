"""What affinity is worth: the engines' cached tokens with it and without, in the same run."""
