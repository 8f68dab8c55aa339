"""What the project's figures are measured with; no part of the package."""
