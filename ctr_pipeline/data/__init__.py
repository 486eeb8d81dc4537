"""What the impressions are: sources, versions, roles, splits."""
