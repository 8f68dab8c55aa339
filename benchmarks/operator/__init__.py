"""What the operator costs at many ModelDeployments, on a real API server."""
