"""Tomoul: the operator and the gateway of an OpenAI-compatible chat endpoint in several regions."""

__version__ = "0.1.0"
