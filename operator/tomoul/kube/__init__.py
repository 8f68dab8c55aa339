"""The rim towards the API server, shared by the operator and the agent: client, watches, store."""
