"""The resources of group tomoul.ai as pydantic models, and the CRDs made from them."""
