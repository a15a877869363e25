"""What any training shares."""
