"""What any tracked pipeline needs: records, trackers, recipes, snapshots, stores. It knows nothing about clicks."""
