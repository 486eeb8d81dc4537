"""Fitted preprocessing: raw rows to features, with statistics that respect time."""
