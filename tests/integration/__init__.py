"""A package, so that its folders are packages of it."""
