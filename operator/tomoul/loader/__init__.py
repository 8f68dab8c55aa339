"""The loader: an init container that brings a model's weights to a volume before the engine starts."""
